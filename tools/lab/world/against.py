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
from .adapter import AUTOMATIC, AdaptedGraph, WorldAdapter, adapt
from .conversation import Arrival, Conversation, arrivals, shown, spoken, unknown_in, warn_of_unknown, written
from .cues import UserUnit
from .node import UserConfig, WorldUser
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
    adapter: WorldAdapter = AUTOMATIC,
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
        adapter: how the graph is connected to its user, where that is not plain.
        settings: parameters of the graph, as ``--set`` on the command line.

    Raises:
        UserError: the graph cannot be put before the world, or a voice cannot be made.
        RunError: a run failed.
    """
    split: Split = "held-out" if held_out else "train"
    numbers = list(seeds)
    configs = [UserConfig(seed, scenario, split, voices, hold_out) for seed in numbers]
    talks = converse(graph, arrivals(configs), units, adapter=adapter, settings=settings, seeds=numbers)
    warn_of_unknown(f"graph '{graph.spec.name if isinstance(graph, Graph) else graph}'", talks)
    return talks


def check_graph(
    graph: Graph | str | Path, *, adapter: WorldAdapter = AUTOMATIC, settings: Mapping[str, Any] | None = None
) -> None:
    """Pass if a graph can be put before the world: known in a moment, before a voice is made.

    Raises:
        UserError: it cannot.
    """
    adapted = _adapted(graph, adapter, settings)
    make_plan(_numbered(adapted.spec, adapted.user, 0))


def converse(
    graph: Graph | str | Path,
    users: Sequence[Arrival],
    units: int,
    *,
    adapter: WorldAdapter = AUTOMATIC,
    settings: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[Conversation]:
    """Let a graph talk with these users, one after the other; see `converse_with_graph`.

    Args:
        users: how each arrives; called with the side of the pictures that the graph takes.
        seeds: of the graph's own chance in each dialogue; 0, 1, 2... if not given.
    """
    adapted = _adapted(graph, adapter, settings)
    seeds = range(len(users)) if seeds is None else seeds
    return [
        _talk(adapted, user(adapted.size), units, adapter.delay, seed) for user, seed in zip(users, seeds, strict=True)
    ]


def _adapted(graph: Graph | str | Path, adapter: WorldAdapter, settings: Mapping[str, Any] | None) -> AdaptedGraph:
    return adapt((graph if isinstance(graph, Graph) else load(graph, settings)).spec, adapter, PresentUser)


@dataclass(eq=False)
class _Present:
    """A user in this process, and their units so far."""

    world: World
    units: list[UserUnit] = field(default_factory=list)


class PresentUser(WorldUser):
    """A user who exists in this process already, found by number."""

    number: int = Param(help="of the user")

    present: ClassVar[dict[int, _Present]] = {}

    @classmethod
    @contextmanager
    def here(cls, world: World) -> Iterator[tuple[int, list[UserUnit]]]:
        """Have a user in this process; gives their number, and the list that their units are added to."""
        user = _Present(world)
        cls.present[id(user)] = user
        try:
            yield id(user), user.units
        finally:
            del cls.present[id(user)]

    def new_state(self) -> World:
        """The user of this number."""
        self._user = self.present[self.number]
        return self._user.world

    def step(
        self, state: World, unit: Unit, tick: NDArray[Any] | None = None, agent: Sound | None = None
    ) -> dict[str, Any]:
        """Step the `WorldUser`; the unit is kept."""
        self._user.units.append(state.step(agent))
        return self.as_outputs(self._user.units[-1])


def _talk(adapted: AdaptedGraph, world: World, units: int, delay: int, seed: int) -> Conversation:
    options = Options(units=units, clock="virtual", serial=True, taps=adapted.answers, keep_log=False)
    with PresentUser.here(world) as (number, user_units):
        plan = make_plan(_numbered(adapted.spec, adapted.user, number), seed)
        packets = Run(plan, options).start().wait().packets
    sounds, pictures, texts = (
        _by_unit(packets.get(stream or "", []), units) for stream in (adapted.audio, adapted.video, adapted.text)
    )
    words = [None if packet is None else text_of(packet) for packet in texts]
    return Conversation(
        user=tuple(user_units),
        samples=spoken([None if packet is None else packet.array for packet in sounds]),
        frames=None if adapted.video is None else shown([None if p is None else p.array for p in pictures]),
        text=None if adapted.text is None else written(words),
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
