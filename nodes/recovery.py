"""Return of a thinker that has lost its past: it reads the performer's log, as the performer reads the thinker's.

    perform.log  ->  think.log, delay 1      slices that the performer holds, where the thinker misses them
    think.lost   ->  perform.lost            where in the log it misses them

A thinker that restarts, or whose past ends earlier than the present unit, answers nothing and asks; the next unit
brings slices. When it has them all, units that nobody has thought of are recorded as lost, and it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..wan_core.cache.kvslice import KVSlice
    from ..wan_core.cache.resync import ContextLog
    from ..wan_core.thinker import Thinker, ThinkerState

PATIENCE_UNITS = 8
"""A thinker that has asked so often in vain begins anew: nobody holds the past any more."""


def catch_up(thinker: Thinker, state: ThinkerState, log: ContextLog, slices: Sequence[KVSlice]) -> int | None:
    """Take what the performer has sent, in place, into the thinker's past and into its own log.

    Args:
        thinker: of the state.
        state: of a thinker that is behind.
        log: what the thinker can send itself.
        slices: the oldest first, the performer's newest last; none where nothing came.

    Returns:
        The place in the log of what is still needed; None: nothing is.
    """
    is_behind = thinker.follow(state, slices) is not None
    log.keep(slices, state.last_digest)
    return state.place if is_behind or not slices else None


def record_lost(thinker: Thinker, state: ThinkerState, log: ContextLog, unit: int) -> int | None:
    """Let everything be absent in the units between the thinker's past and this one: their place in the log, if any."""
    first = state.place
    for slice_ in thinker.gap(state, unit - state.unit):
        log.append(slice_)
    return first if state.place > first else None
