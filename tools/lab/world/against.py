"""A graph against the world: any graph that takes a user in and answers, in dialogues with users who react to it.

    for talk in converse_with_graph("duplex", seeds=range(3), units=200):
        print(talk.samples.shape, [cue.kind for cue in talk.cues])

The graph runs in this process under the virtual clock: its nodes take what their budgets say, whatever the machine is
doing, so a dialogue depends on the seed and the graph alone. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from ....runtime.api import load
from ....runtime.engine.options import Options
from ....runtime.engine.run import Run
from ....runtime.engine.values import text_of
from ....runtime.node import Param, Unit
from ....runtime.packet import Packet
from ....runtime.plan.check import make_plan
from ....runtime.plan.graph import Graph
from ....runtime.plan.spec import GraphSpec, ParamSpec
from .conversation import Arrival, Conversation, arrivals, shown, spoken, unknown_in, warn_of_unknown, written
from .cues import UserUnit
from .node import Guest, WorldUser
from .seat import ANY_SEAT, Seat, Seated, take_seat
from .signal import Sound
from .user import World
from .voices import Split


def converse_with_graph(
    graph: Graph | str | Path,
    seeds: Iterable[int],
    units: int,
    scenario: str = "everything",
    *,
    held_out: bool = True,
    voices: Path | None = None,
    hold_out: tuple[str, ...] = (),
    seat: Seat = ANY_SEAT,
    settings: Mapping[str, Any] | None = None,
) -> list[Conversation]:
    """Let a graph talk with the users of these seeds, for ``units`` each.

    Args:
        graph: built, loaded, or a path or shipped name.
        seeds: of the users; the graph's own chance is drawn from the same seed.
        units: how long each dialogue is.
        scenario: how the users behave.
        held_out: voices that training never hears.
        voices: folder of recorded people.
        hold_out: more speakers and synthesisers that training never hears.
        seat: where the graph meets its user, where that is not plain.
        settings: parameters of the graph, as ``--set`` on the command line.

    Raises:
        UserError: the graph cannot be put before the world, or a voice cannot be made.
        RunError: a run failed.
    """
    split: Split = "held-out" if held_out else "train"
    numbers = list(seeds)
    guests = [Guest(seed, scenario, split, voices, hold_out) for seed in numbers]
    talks = converse(graph, arrivals(guests), units, seat=seat, settings=settings, seeds=numbers)
    warn_of_unknown(f"graph '{graph.spec.name if isinstance(graph, Graph) else graph}'", talks)
    return talks


def check_graph(graph: Graph | str | Path, *, seat: Seat = ANY_SEAT, settings: Mapping[str, Any] | None = None) -> None:
    """Pass if a graph can be put before the world: known in a moment, before a voice is made.

    Raises:
        UserError: it cannot.
    """
    seated = _seated(graph, seat, settings)
    make_plan(_numbered(seated.spec, seated.user, 0))


def converse(
    graph: Graph | str | Path,
    users: Sequence[Arrival],
    units: int,
    *,
    seat: Seat = ANY_SEAT,
    settings: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[Conversation]:
    """Let a graph talk with these users, one after the other; see `converse_with_graph`.

    Args:
        users: how each arrives; called with the side of the pictures that the graph takes.
        seeds: of the graph's own chance in each dialogue; 0, 1, 2... if not given.
    """
    seated = _seated(graph, seat, settings)
    seeds = range(len(users)) if seeds is None else seeds
    return [_talk(seated, user(seated.size), units, seat.delay, seed) for user, seed in zip(users, seeds, strict=True)]


def _seated(graph: Graph | str | Path, seat: Seat, settings: Mapping[str, Any] | None) -> Seated:
    return take_seat((graph if isinstance(graph, Graph) else load(graph, settings)).spec, seat, PresentUser)


@dataclass(eq=False)
class _Present:
    """A user who is there, and what was heard of him so far."""

    world: World
    heard: list[UserUnit] = field(default_factory=list)


class PresentUser(WorldUser):
    """A user who is in this process already, found by number."""

    number: int = Param(help="of the user")

    present: ClassVar[dict[int, _Present]] = {}

    @classmethod
    @contextmanager
    def here(cls, world: World) -> Iterator[tuple[int, list[UserUnit]]]:
        """Have a user here; gives his number, and his units as they are heard."""
        user = _Present(world)
        cls.present[id(user)] = user
        try:
            yield id(user), user.heard
        finally:
            del cls.present[id(user)]

    def new_state(self) -> World:
        """The user, as he is."""
        self._user = self.present[self.number]
        return self._user.world

    def step(
        self, state: World, unit: Unit, tick: NDArray[Any] | None = None, agent: Sound | None = None
    ) -> dict[str, Any]:
        """As of `WorldUser`; the unit is kept."""
        self._user.heard.append(state.step(agent))
        return self.given(self._user.heard[-1])


def _talk(seated: Seated, world: World, units: int, delay: int, seed: int) -> Conversation:
    options = Options(units=units, clock="virtual", serial=True, taps=seated.answers, keep_log=False)
    with PresentUser.here(world) as (number, heard):
        plan = make_plan(_numbered(seated.spec, seated.user, number), seed)
        packets = Run(plan, options).start().wait().packets
    sounds, pictures, texts = (
        _by_unit(packets.get(stream or "", []), units) for stream in (seated.audio, seated.video, seated.text)
    )
    words = [None if packet is None else text_of(packet) for packet in texts]
    return Conversation(
        heard=tuple(heard),
        samples=spoken([None if packet is None else packet.array for packet in sounds]),
        frames=None if seated.video is None else shown([None if p is None else p.array for p in pictures]),
        text=None if seated.text is None else written(words),
        unknown=unknown_in(words),
        delay=delay - 1,
    )


def _numbered(spec: GraphSpec, user: str, number: int) -> GraphSpec:
    node = spec.nodes[user]
    node = replace(node, params={**node.params, "number": ParamSpec(number)})
    return replace(spec, nodes={**spec.nodes, user: node})


def _by_unit(packets: Iterable[Packet], units: int) -> list[Packet | None]:
    """The packet of each unit that has something in it."""
    found = {packet.unit: packet for packet in packets if packet.is_payload}
    return [found.get(unit) for unit in range(units)]
