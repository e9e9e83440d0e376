"""The synthetic duplex world: users who talk, look, interrupt and wait, and the ideal agent that answers them.

Sounds from top to bottom of `signal`, `words`, `shipped`, `voices`, `room`; pictures in `canvas`, `face`, `motion`;
behaviour in `script`, `person`, `ear`, `user`, `persona`, `oracle`; both together in `dialogue`, `media`, `check`.
Needs numpy alone, and the programs espeak-ng and flite for the voices that are not shipped.
"""

from __future__ import annotations

from .command import command

__all__ = ["command"]
