"""Log of the scheduler's decisions, in the order in which it made them.

A replay reads from it who fired with which units, mode and level, and how every (stream, unit) was settled. All
times are nanoseconds after the run's origin. Every record names its session, and the incarnation: which life of a
process it is about; as 0, in a run of one session in which nobody died, neither is written down. Records are many and
refer to nothing that refers to them: the garbage collector leaves them alone (``gc=False``).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ..plan.plan import Mode

Verdict = Literal["real", "late", "end", "unfinished"]
"""What came of a call: it was in time; it finished after its due; a source had no more; it did not come back."""


class Firing(msgspec.Struct, tag="firing", frozen=True, gc=False, omit_defaults=True):
    """One call of a body: units ``first..last`` (equal for a step), in ``mode``, at ladder entry ``level``.

    ``ready_ns``: all inputs had settled; ``started_ns``/``finished_ns``: around the body; ``due_ns``: of the last
    unit, None without one. What most calls have is the default, and not written down.
    """

    node: str
    first: int
    last: int
    mode: Mode = "step"
    level: int = 0
    ready_ns: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    due_ns: int | None = None
    verdict: Verdict = "real"
    session: int = 0
    incarnation: int = 0


class Settlement(msgspec.Struct, tag="settled", frozen=True, gc=False, omit_defaults=True):
    """The one outcome of (stream, unit): ``validity`` as in `packet.Validity`, and when its settler decided it.

    ``incarnation`` is the packet's: of the process that makes the stream.
    """

    stream: str
    unit: int
    validity: int = 0
    at_ns: int = 0
    n_bytes: int = 0
    session: int = 0
    incarnation: int = 0


class Fenced(msgspec.Struct, tag="fence", frozen=True, omit_defaults=True):
    """Packets of these streams older than ``generation`` are dropped from ``first_unit`` on."""

    streams: list[str]
    generation: int
    first_unit: int
    at_ns: int
    session: int = 0
    incarnation: int = 0


class Updated(msgspec.Struct, tag="updated", frozen=True, omit_defaults=True):
    """Parameters of a node changed while the run went on: ``values`` hold from unit ``first_unit`` on."""

    node: str
    first_unit: int
    values: dict[str, Any]
    at_ns: int
    session: int = 0
    incarnation: int = 0


Event = Firing | Settlement | Fenced | Updated
