"""Laws of sessions and lives: whatever dies, comes back, joins and leaves, at any instant."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from takeover_toys import Lived, Seen, any_case, live

from wangraph.runtime.packet import Packet, Validity

SEEDS = st.integers(0, 2**32)


def assert_settles_once(lived: Lived) -> None:
    """Every (session, stream, unit) has one record, without a gap from the session's first unit to its end."""
    for session in {seen.scheduler.session for seen in lived.seen}:
        begun = set()
        for stream in lived.case.plan.streams:
            settled = lived.settlements(session, stream)
            units = [r.unit for r in settled if r.validity != Validity.END]
            ends = {r.unit for r in settled if r.validity == Validity.END}
            assert len(units) == len(set(units)), f"{session} {stream}: twice"
            assert len(ends) == 1, f"{session} {stream}: ends at {ends}"
            begun.add(min([*units, *ends]))
            assert set(range(min([*units, *ends]), max(ends))) <= set(units), f"{session} {stream}: gap"
        assert len(begun) == 1, session
        assert all(seen.scheduler.first_unit >= min(begun) for seen in lived.of(session))


def assert_agreement(lived: Lived) -> None:
    """Whoever took a unit in took in the same, the dead included, but for what nobody else had of them.

    What a fence overtook on its way is missing where it was overtaken.
    """
    for session in {seen.scheduler.session for seen in lived.seen}:
        kinds: dict[tuple[str, int], set[Validity]] = {}
        for seen in lived.of(session):
            for key, packet in seen.outcomes.items():
                if seen.stands(key) and not is_fenced(seen, packet):
                    kinds.setdefault(key, set()).add(packet.validity)
        for key, found in kinds.items():
            assert len(found) == 1, f"{session} {key}: {found}"


def is_fenced(seen: Seen, packet: Packet) -> bool:
    fences = [first for stream, _, first in seen.fences if stream == packet.stream]
    return packet.validity is Validity.MISSING and any(packet.unit >= first for first in fences)


def assert_fences(lived: Lived) -> None:
    for seen in lived.seen:
        assert [p for p in seen.stale if p.validity not in (Validity.MISSING, Validity.END)] == []


def assert_every_unit_seen(lived: Lived) -> None:
    """A stateful node sees every unit once per life, in order, from the first unit of that life."""
    for seen in lived.seen:
        for name, state in seen.scheduler.nodes.items():
            units = [u for fire in seen.fires if fire.node == name for u in fire.units]
            if state.plan.stateful:
                assert units == list(range(seen.scheduler.first_unit, seen.scheduler.first_unit + len(units))), name
            else:
                assert units == sorted(set(units)), name


LAWS = (assert_settles_once, assert_agreement, assert_fences, assert_every_unit_seen)


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_whatever_dies_comes_back_joins_and_leaves_the_laws_hold(case):
    lived = live(any_case(case))
    for law in LAWS:
        law(lived)
