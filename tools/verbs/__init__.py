"""The verbs of the command ``wangraph``: one file a verb, imported only when it is called."""
