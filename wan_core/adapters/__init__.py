"""Public models in the places of ours: codecs and language models, loaded from a local folder.

Each adapter gives a public part the interface and the laws of the part that it replaces. Their packages are the extra
``wangraph[adapters]`` and are imported when an adapter is loaded; sizes are read from ``config.json`` without them.
"""
