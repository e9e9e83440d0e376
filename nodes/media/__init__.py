"""Reading and writing media for the nodes: files in, MP4 and captions out, and the test picture's time code.

PyAV is imported inside functions, never at module level: ``wangraph check`` stays quick.
"""
