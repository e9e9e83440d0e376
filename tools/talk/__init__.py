"""``wangraph talk``: a visitor without a browser, the reference for other clients, and a load."""
