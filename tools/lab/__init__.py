"""The laboratory: a synthetic world, training, evaluation and the cascade to compare with.

Its nodes (``cascade.*``, ``world.user``) reach graphs as those of any other package do: by the entry-point group
``wangraph.nodes``. Nothing outside of `tools` imports it.
"""
