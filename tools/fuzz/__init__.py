"""Fuzzing of every reader: damaged and made-up inputs, of which each is read or refused in words, soon and in little
memory.

`damage` spoils plain data and bytes; a file a kind of input makes cases and reads them; `trial` judges one after the
other, `campaign` does so in a process of its own. Imported by `bench fuzz` and by tests.
"""
