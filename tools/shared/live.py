"""The live view of a run: unit, rate, a latency bar per node against its due, misses, skew. Drawn at 4 Hz by the
supervising process, away from the bodies."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ...runtime.engine.run import Run
from ...runtime.observe.distribution import RECENT, quantiles
from ...runtime.observe.outcome import real_latencies_ns
from ...runtime.observe.statistics import Statistics

BAR = 24


class LiveView:
    """Shows a run while it goes on; a context manager around it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        run.collector.watcher = self
        self._live = Live(Text("starting..."), console=Console(), refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def poll(self, statistics: Statistics, usage: dict[str, dict[str, float | int]]) -> None:
        """Draw what is known now."""
        self._live.update(Group(_headline(statistics, usage), _nodes(statistics), *_notes(statistics)))


def _headline(statistics: Statistics, usage: dict[str, dict[str, float | int]]) -> RenderableType:
    plan, units = statistics.plan, statistics.newest_outcomes()[-RECENT:]
    recent = quantiles(real_latencies_ns(units))
    skew = max((o.skew_ns for o in units if o.skew_ns is not None), default=0) / 1e6
    text = Text()
    text.append(plan.name, "bold")
    text.append(f"  unit {statistics.units_presented}", "cyan")
    text.append(f"  {statistics.totals().fps:.1f} fps")
    if recent:
        text.append(f"  model latency {recent['p50']:.0f} ms of {plan.latency_ns / 1e6:.0f}")
    if (real := sum(o.is_real for o in units)) < len(units):
        text.append(f"  {real} of the last {len(units)} units real", "bold red")
    text.append(f"  misses {statistics.misses}", "bold red" if statistics.misses else "green")
    text.append(f"  late {sum(statistics.late.values())}  A/V skew {skew:.0f} ms")
    for name, used in usage.items():
        text.append(f"  {name} {used['cpu_s']:.1f} s CPU {used['rss_mb']:.0f} MB", "dim")
    return text


def _nodes(statistics: Statistics) -> RenderableType:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for title in ("node", "process/lane", "units", "busy ms p50", "p95"):
        table.add_column(title, justify="left" if title in ("node", "process/lane") else "right")
    table.add_column("finished … due", min_width=BAR)
    table.add_column("late", justify="right")
    for node in statistics.plan.nodes.values():
        busy = quantiles(statistics.busy[node.name].recent)
        late = statistics.late[node.name]
        table.add_row(
            node.name,
            f"{node.process}/{node.lane}",
            str(statistics.fired[node.name]),
            f"{busy['p50']:.1f}" if busy else "",
            f"{busy['p95']:.1f}" if busy else "",
            _bar(statistics, node.name),
            Text(str(late) if late else "", "bold red"),
        )
    return table


def _bar(statistics: Statistics, name: str) -> Text:
    """Bar of how much of the time up to its due the node needed lately."""
    node = statistics.plan.nodes[name]
    slack = statistics.slack[name].recent
    if node.due_ns is None or not slack or node.due_ns <= 0:
        return Text("")
    used = 1 - sorted(slack)[len(slack) // 20] / node.due_ns
    filled = max(0, min(BAR, round(used * BAR)))
    style = "green" if used < 0.7 else "yellow" if used <= 1 else "red"
    return Text("█" * filled, style).append("·" * (BAR - filled), "dim")


def _notes(statistics: Statistics) -> list[RenderableType]:
    return [Text(f"{note.kind}: {note.text}", "yellow") for note in statistics.notes[-3:]]
