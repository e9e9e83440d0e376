"""``wangraph train``: data from the world, then codecs, then the model, on a budget of hours.

`plan` says what is learned for how long, `data` makes dialogues and keeps them on disk, `shards` reads them, `stages`
puts data and tasks together, `drive` takes the steps, writes curves and checkpoints, `sheet` draws samples.
"""

from __future__ import annotations

from .command import command

__all__ = ["command"]
