"""Reading and writing media for the nodes: files in, MP4 and captions out, sound of another clock, the time code.

PyAV is imported inside functions, never at module level: ``wangraph check`` stays quick.
"""
