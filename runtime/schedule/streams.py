"""The streams of one process: what has settled, what time settles, what is on its way to others.

A packet takes one of three ways from the body that made it. It **settles** here, when this process decides its unit;
it goes to the process that decides, when another one does; and what a source made ahead of its unit is held until the
unit's release. What settled here goes to the stream's other readers. Which process decides which units is the plan's
to say, until one dies: then it is as ordered (`takeover`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from msgspec.structs import replace

from ..packet import Packet, Validity
from ..plan.plan import NodePlan, Plan
from .duty import Known, Order, given_up_ns
from .ends import Ends
from .log import DecisionLog
from .timers import Timers, earlier
from .window import FOREVER, Settled, Span, StreamWindow

NO_LIVES: Mapping[str, int] = MappingProxyType({})


@dataclass(slots=True, eq=False)
class Held:
    """A packet that waits for the release of its unit."""

    packet: Packet
    alarm_ns: int | None = None


class Streams:
    """See the module.

    Args:
        plan: the checked graph.
        process: whose streams; None: all of the plan, and every stream settles here.
        log: where settlements are recorded.
        on_settled: called with every packet that settles, here or elsewhere, and when.
        tap: called with every packet that settles here, in order.
        limit: sources end at this unit.
        session: whose streams.
        incarnation: which life of this process it is.
        lives: which life of other processes it is, as far as it is not their first.
        first_unit: where every stream begins here.
        keep_ns: for how long outcomes of streams that several processes read are kept for those who lack them.

    Attributes:
        n_arriving: streams made elsewhere and read here that have not ended.
    """

    def __init__(
        self,
        plan: Plan,
        process: str | None,
        *,
        log: DecisionLog,
        on_settled: Callable[[Packet, int], None],
        tap: Callable[[Packet], None] | None = None,
        limit: int | None = None,
        session: int = 0,
        incarnation: int = 0,
        lives: Mapping[str, int] = NO_LIVES,
        first_unit: int = 0,
        keep_ns: int = 0,
    ) -> None:
        self.plan = plan
        self.process = process
        self.session = session
        self.incarnation = incarnation
        self._log, self._on_settled, self._tap = log, on_settled, tap
        here = {n.name: n for n in plan.nodes.values() if process is None or n.process == process}
        read = {i.stream for n in here.values() for i in n.inputs}
        held = {i.stream for n in here.values() for i in n.inputs if i.late == "hold"}
        self._lives = dict(lives)
        self.windows: dict[str, StreamWindow] = {}
        for name, stream in plan.streams.items():
            if name in read or stream.node in here:
                life = incarnation if stream.node in here else lives.get(stream.process, 0)
                window = StreamWindow(stream, name in held, first_unit, life, keep_ns)
                if process is None or stream.settler == process:
                    window.spans = (Span(first_unit, FOREVER),)
                self.windows[name] = window
        self._unread = {name for name in self.windows if name not in read}
        self._order = {name: place for place, name in enumerate(self.windows)}
        self.n_arriving = sum(window.plan.node not in here for window in self.windows.values())
        self._here = frozenset(here)
        self.ends = Ends(plan, self.windows, limit)
        self._outgoing: list[Packet] = []
        self._handed: list[Packet] = []
        self._held: Timers[Held] = Timers()
        self.n_held = 0
        self._timeouts: Timers[StreamWindow] = Timers()
        self._parked: list[StreamWindow] = []
        for window in self.windows.values():
            self._timeouts.set(window, self._time_out(window))

    # What happens

    def advance(self, now: int) -> None:
        """Time has passed: hand over what sources made ahead, settle as missing what is due and not there."""
        for held in self._held.due(now):
            self.n_held -= 1
            # from now on it could travel: what it waited for is the clock's time and not the way's
            self.publish(replace(held.packet, produced_ns=now), now)
        late = self._timeouts.due(now)
        for window in sorted(late, key=self._place) if len(late) > 1 else late:
            self._settle_late(window, now)

    def arrive(self, packet: Packet, now: int) -> None:
        """Settle a packet of another process; of a life that is known to be over nothing is taken in any more."""
        window = self.windows[packet.stream]
        if packet.incarnation < window.incarnation:
            window.late += 1
        else:
            self.settle(packet, now)

    def give(self, node: NodePlan, packet: Packet, now: int) -> None:
        """Hand a fresh output over.

        What a fence has overtaken while it was computed becomes missing and not nothing: its unit needs an outcome.
        """
        window = self.windows[packet.stream]
        if window.is_stale(packet):
            packet = replace(self.blank(packet.stream, packet.unit, Validity.MISSING), generation=window.generation)
        # given out early it would let its readers run ahead of the clock that paces all
        if node.is_source and now < (release := self.plan.release_ns(packet.unit)):
            self._hold(packet, release)
        else:
            self.publish(packet, now)

    def publish(self, packet: Packet, now: int) -> None:
        """Settle a packet here and send the outcome to other readers, or send it to the process that decides.

        What the stream's only reader decides concerns nobody else. Who decides in the place of a dead process hands
        the outcomes to the others by its own name: by the dead one's they would be refused.
        """
        window = self.windows[packet.stream]
        stream = window.plan
        # settled here as well, the unit would have two outcomes where its decider has given it up meanwhile
        if not window.decides(packet.unit):
            self._outgoing.append(packet)
        elif (settled := self.settle(packet, now)) is None:
            return
        elif stream.process == self.process and stream.readers:
            self._outgoing.append(settled)
        elif stream.process != self.process and len(stream.readers) > 1:
            self._handed.append(settled)

    def settle(self, packet: Packet, now: int) -> Packet | None:
        """Decide a unit's outcome; what was settled, None when it was decided before.

        The first outcome stays, so that whoever reads the stream, now or later, reads the same. An end that comes late
        ends the stream at the first unit that is still open: those before it are decided already, and the stream must
        end somewhere.
        """
        window = self.windows[packet.stream]
        if window.is_stale(packet):
            packet = self.blank(packet.stream, packet.unit, Validity.MISSING)
        if packet.validity is Validity.END and packet.unit < window.head and window.ended_at is None:
            packet = self.blank(packet.stream, window.head, Validity.END)
        if not window.settle(packet, now):
            return None
        # the alarm belongs to the head, which has moved: the old one would settle the next unit before its time
        self._timeouts.set(window, self._time_out(window))
        if packet.validity is Validity.END:
            self._note_end(window)
        self._on_settled(packet, now)
        if window.decides(packet.unit):
            if self._tap is not None:
                self._tap(packet)
            self._log.settled(packet, now)
        if packet.stream in self._unread:
            window.forget(window.head)  # not beyond: what settled ahead of its turn is not to settle twice
        return packet

    def forget_all(self, stream: str) -> None:
        """Keep nothing of a stream any more: all who read it here have ended."""
        self._unread.add(stream)
        self.windows[stream].forget(self.windows[stream].head)

    def end(self, node: str, outlets: Iterable[str], unit: int, now: int) -> None:
        """A node here gives nothing from ``unit`` on."""
        # known before its ends settle: what they wake asks where this node ends
        self.ends.here[node] = unit
        self.ends.forget_guesses()
        for stream in outlets:
            self.publish(self.blank(stream, unit, Validity.END), now)

    def fence(self, streams: Sequence[str], generation: int, first_unit: int) -> None:
        """From ``first_unit`` on, drop packets of these streams that are older than ``generation``."""
        for name in streams:
            if name in self.windows:
                self.windows[name].raise_fence(generation, first_unit)

    def drain(self) -> list[Packet]:
        """Packets to send to the stream's readers, each once."""
        drained, self._outgoing = self._outgoing, []
        return drained

    def drain_handed(self) -> list[Packet]:
        """Outcomes decided in the place of a dead process, to hand to the stream's other readers (`adopt`)."""
        drained, self._handed = self._handed, []
        return drained

    # After a death

    def cut_off(self, process: str, incarnation: int) -> None:
        """Take in nothing any more of this life of a process."""
        # beside the windows: a dead process's outcomes for others, too, may still arrive (`adopt`)
        self._lives[process] = max(self._lives.get(process, 0), incarnation + 1)
        for window in self.windows.values():
            if window.plan.process == process:
                window.incarnation = max(window.incarnation, incarnation + 1)

    def known(self, streams: Iterable[str]) -> dict[str, Known]:
        """Knowledge of these streams here: of the node that makes one, also that it has ended."""
        found = {}
        for name in streams:
            window, end = self.windows[name], self.windows[name].end
            if end is None and window.plan.node in self.ends.here:
                end = Settled(self.blank(name, self.ends.here[window.plan.node], Validity.END), 0)
            kept = dict(window.kept)
            if len(window.plan.readers) < 2:  # nobody else can lack a payload
                kept = {unit: Settled(s.packet.without_payload(), s.at_ns) for unit, s in kept.items()}
            found[name] = Known(window.first_unit, window.head, kept, end)
        return found

    def obey(self, order: Order, now: int) -> None:
        """Take in what is lacking here, which others decided; then decide what is to be decided here."""
        window = self.windows[order.stream]
        # what others decided comes first: given its duty before, this process would settle by time what is known
        # elsewhere
        for settled in order.outcomes:
            self.settle(settled.packet, now)
        window.spans = order.spans
        window.unmade_until = order.unmade_until
        self._timeouts.set(window, self._time_out(window))

    def adopt(self, packet: Packet, sender: str, incarnation: int, now: int) -> None:
        """An outcome that another process decided in the place of a dead one; of a life that is over, nothing."""
        if incarnation >= self._lives.get(sender, 0):
            self.settle(packet, now)

    def _hold(self, packet: Packet, release: int) -> None:
        self.n_held += 1
        self._held.set(Held(packet), release)

    # What is known

    @property
    def next_ns(self) -> int | None:
        """Instant at which time alone will give `advance` something to do."""
        return earlier(self._held.next_ns, self._timeouts.next_ns)

    def outcome(self, stream: str, unit: int) -> Settled | None:
        """The outcome of (stream, unit); None while it is open."""
        return self.windows[stream].get(unit)

    def blank(self, stream: str, unit: int, validity: Validity) -> Packet:
        """A packet without payload."""
        clock = self.plan.clock
        window = self.windows[stream]
        return Packet(stream, unit, window.generation, clock.pts_ns(unit), clock.duration_ns(unit), validity,
                      session=self.session, incarnation=window.incarnation)  # fmt: skip

    # Time

    def _place(self, window: StreamWindow) -> int:
        return self._order[window.plan.name]

    def _time_out(self, window: StreamWindow) -> int | None:
        """Settle the first open unit of a window as missing when its time is out; gives that instant."""
        unit, after = window.head, window.plan.settle_ns
        if unit < window.unmade_until:
            after = given_up_ns(self.plan, window.plan)
        if after is None or not window.decides(unit) or (window.ended_at is not None and unit >= window.ended_at):
            return None
        return self.plan.release_ns(unit) + after

    def _settle_late(self, window: StreamWindow, now: int) -> None:
        """Settle as missing what is due of a window; each settlement sets the alarm of the unit that follows.

        Where the producer is known to end before the unit, it is not missing, it is not there: its end is on the way,
        and the window waits for that and not for time. Of a producer that is dead no end is on the way: whoever decides
        in its place decides that, too, unless it comes back and can end by itself.
        """
        while (at := self._time_out(window)) is not None and at <= now:
            unit, end = window.head, self.ends.of(window.plan.node)
            is_past = end is not None and end <= unit
            if is_past and unit >= window.unmade_until:
                self._timeouts.set(window, None)
                self._parked.append(window)
                return
            validity = Validity.END if is_past and window.unmade_until == FOREVER else Validity.MISSING
            self.publish(self.blank(window.plan.name, unit, validity), now)

    def _note_end(self, window: StreamWindow) -> None:
        """A stream has ended: whoever waits for an end, by what was known so far, is to be judged anew."""
        self.ends.forget_guesses()
        if window.plan.node not in self._here:
            self.n_arriving -= 1
        parked, self._parked = self._parked, []
        for other in parked:
            self._timeouts.set(other, self._time_out(other))
