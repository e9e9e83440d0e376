"""Resynchronisation of a side of the context log that has lost its past: the other side sends slices once more.

    log.append(slice)                     the writer keeps what it has sent
    need = follow(cache, state, slices)   the reader takes what follows; else: the place in the log of what it needs
    log.slices_since(need)                the writer reads again, and the reader follows

A slice that is dropped, repeated or damaged costs answers, never the session: the reader ends with the same keys and
values as the writer, bit by bit. That goes for a reader that restarts empty too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from .context import ContextState, check_fits, take_slice
from .kvcache import KVCache
from .kvslice import KVSlice, chained_digest

FROM_THE_START = 0
"""Needed by a reader that holds nothing: whatever comes first."""


class ContextLog:
    """Slices of a session that can be read again: all that a cache of the same rules remembers.

    Args:
        cache: the rules; the sinks are kept for good, the prefix until there is another one, of the others as many as
            the cache holds.
        retention_units: how many of the others at most; None: as said.
    """

    def __init__(self, cache: KVCache, retention_units: int | None = None) -> None:
        kept = cache.ring_units + 1  # the newest slice, and those that it sees
        self._prefix: list[KVSlice] = []
        self._sinks: list[KVSlice] = []
        self._recent: deque[KVSlice] = deque(maxlen=kept if retention_units is None else min(kept, retention_units))
        self._n_sinks = cache.n_sinks
        self._last: KVSlice | None = None

    def append(self, slice_: KVSlice) -> None:
        """The next slice; the log keeps its tensors, which nobody may change any more."""
        if not (slice_.count if slice_.is_prefix else slice_.n_prefix):
            self._prefix.clear()  # another one begins here, or there is none any more
        if slice_.is_prefix:
            self._prefix.append(slice_)
        elif slice_.count < self._n_sinks:
            self._sinks.append(slice_)
        else:
            self._recent.append(slice_)
        self._last = slice_

    def keep(self, slices: Sequence[KVSlice], digest: bytes) -> None:
        """Append what a reader has taken of these: up to the slice with this digest, the last that it holds.

        Those that are kept already are left out; where the reader took another past, the log begins anew with it.
        """
        taken = [index for index, slice_ in enumerate(slices) if slice_.digest == digest]
        for slice_ in slices[: taken[-1] + 1] if taken else ():
            if self._last is not None and slice_.start <= self._last.start:
                if any(slice_.digest == s.digest for s in self._kept()):
                    continue
                for kept in (self._prefix, self._sinks, self._recent):
                    kept.clear()
            self.append(slice_)

    def slices_since(self, place: int, most: int | None = None) -> list[KVSlice]:
        """The slices at this place in the log and behind it, as many as wanted, in order.

        Where those before one are no longer kept, it says so: it `KVSlice.resumes`.
        """
        found: list[KVSlice] = []
        for slice_ in [s for s in self._kept() if s.place >= place][:most]:
            resumes = slice_.place > place
            found.append(slice_ if slice_.resumes == resumes else replace(slice_, resumes=resumes))
            place = slice_.place + 1
        return found

    def slices_up_to_newest(self, place: int, most: int) -> list[KVSlice]:
        """Slices as of `slices_since`, and the newest in any case: a reader then sees whether others are missing."""
        found = self.slices_since(place, most)
        return found if self._last is None or (found and found[-1].start == self._last.start) else [*found, self._last]

    def _kept(self) -> list[KVSlice]:
        """All slices, in order; where the prefix was told later than at the beginning, it stands between others."""
        return sorted((*self._prefix, *self._sinks, *self._recent), key=lambda slice_: slice_.start)


def follow(cache: KVCache, state: ContextState, slices: Sequence[KVSlice], present: int | None = None) -> int | None:
    """Take those of the slices that are next, in place; leave out what is known, and what does not follow.

    A reader whose own past turns out to be another one begins anew.

    Args:
        cache: the rules.
        state: of the reader, written in place.
        slices: the oldest first; none of them when everything was lost.
        present: the unit that the reader should then have taken, where it is known; None: that of the last slice.

    Returns:
        The place in the log of what is needed before the present unit can be taken; None when nothing is.

    Raises:
        ModelError: slices of another model.
    """
    is_behind = False
    for slice_ in slices:
        check_fits(cache, state, slice_)
        held = state.cache
        start = held.slices * cache.per_unit
        if slice_.digest != chained_digest(slice_):
            is_behind = True
        elif slice_.resumes and slice_.start > start and not is_behind:
            # behind a slice that came to harm in this packet it would pass over what the log still holds
            take_slice(cache, state, slice_)
            is_behind = False
        elif slice_.start > start:
            is_behind = True
        elif slice_.start == start and (not start or slice_.previous == state.last_digest):
            take_slice(cache, state, slice_)
            is_behind = False
        elif slice_.start == start or slice_.unit >= state.unit:
            state.reset()
            is_behind = True
    if present is not None and state.unit > present + 1:
        state.reset()
    if present is not None:
        is_behind = state.unit != present + 1
    return state.place if is_behind else None
