"""``wangraph serve``: people talk with a graph from their browsers."""
