"""A voice agent as agents are usually built: a chain of parts that each do one thing, for the world's users.

`detect` waits until the user has been silent for long enough, `listen` finds the words of the turn, `answer` applies
the rule, `speak` says it, `animate` draws a face to the sound; `words` is the recogniser's model. It hears and has no
eyes. `graphs/cascade.yaml` puts the nodes together. Needs numpy alone, and the extra `world`
for the voices.
"""

from __future__ import annotations

from .animate import Animate
from .answer import Answer
from .detect import Detect
from .listen import Listen
from .speak import Speak

__all__ = ["Animate", "Answer", "Detect", "Listen", "Speak"]
