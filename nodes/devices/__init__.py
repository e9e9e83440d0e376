"""This machine's own devices: camera, microphone, speakers and a window. A file a device, and how one is kept open.

PyAV, sounddevice and tkinter are imported inside functions: ``wangraph check`` stays quick, and works without them.
"""
