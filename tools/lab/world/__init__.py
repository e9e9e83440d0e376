"""The synthetic duplex world: users who talk, look, interrupt and wait, and the ideal agent that answers them.

Sounds from top to bottom of `signal`, `words`, `shipped`, `voices`, `room`; pictures in `canvas`, `face`, `motion`;
behaviour in `script`, `person`, `ear`, `user`, `persona`, `oracle`; both together in `dialogue`, `media`, `check`.
Needs numpy alone, and for the voices that are not shipped the extra `world`, which brings espeak-ng as a library.

Other agents meet the same users: `node` is a user in a graph, `adapter` and `against` put one into any graph,
`protocol` and `websocket` before an agent elsewhere; both give a `conversation`.
"""
