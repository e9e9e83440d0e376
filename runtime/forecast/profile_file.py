"""Profiles as files: YAML -> `Profile`, every mistake with its line and column, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError, did_you_mean, listing
from ..plan.catalogue import shipped_profiles
from ..plan.document import kind_name, parse_text
from ..plan.marks import Item, Mark, Problems, shown
from .profile import CLOCK, LONGEST_MS, Delay, Lateness, Machine, NodeCost, Profile
from .profile_reader import Reader

MAX_BYTES = 4_000_000
TOP_KEYS = ("version", "name", "graph", "source", "history_units", "nodes", "transfers", "clock", "machines", "rows")
NODE_KEYS = ("cost_ms", "p95_ms", "per_unit_ms", "hold_ms", "cpu_ms", "threads", "level_ms", "absorb_ms", "source")
DELAY_KEYS = ("ms", "p95_ms", "source")
CLOCK_KEYS = ("late_ms", "p95_ms", "source")
MACHINE_KEYS = ("processes", "cores", "source")
MOST_CORES = 10_000
"""Of a machine; the simulation keeps one number for each."""

UNSAID = {"per_unit_ms": 0, "hold_ms": 0, "threads": 1}
"""Figures that go without saying."""

_MAKE_ONE = "make one with: wangraph profile GRAPH -o FILE"


def load_profile(reference: str | Path) -> Profile:
    """A profile by path or shipped name.

    Raises:
        UserError: no such profile, or everything that is wrong with it, one mistake a line.
    """
    path = find_profile(reference)
    name = shown(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{name}: {error.strerror} (expected a profile), {_MAKE_ONE}") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{name}: found {len(data)} bytes (expected {MAX_BYTES} or less), {_MAKE_ONE}")
    try:
        tree = parse_text(data.decode("utf-8"), Mark(name), path.parent.absolute())
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: found bytes that are no text (expected a profile in YAML), {_MAKE_ONE}") from error
    if tree is None or not tree.is_mapping or tree.get("nodes") is None:
        found = "an empty file" if tree is None else "no nodes" if tree.is_mapping else kind_name(tree.value)
        raise UserError(f"{name}: found {found} (expected a profile with 'nodes'), {_MAKE_ONE}")
    problems = Problems()
    profile = _profile(tree, path.stem, name, problems)
    problems.raise_any()
    return profile


def find_profile(reference: str | Path) -> Path:
    """The file of a profile, given by path or by shipped name.

    Raises:
        UserError: neither.
    """
    path, shipped = Path(reference), shipped_profiles()
    if path.is_file():
        return path
    name = str(reference)
    if name in shipped:
        return shipped[name]
    raise UserError(
        f"{name}: no such profile (expected a file, or one of: {listing(shipped)}), "
        f"{_MAKE_ONE}{did_you_mean(name, shipped)}"
    )


def write_profile(profile: Profile, heading: str = "") -> str:
    """The profile as YAML that `load_profile` reads back; ``heading`` becomes its first comment."""
    lines = [f"# {line}" for line in heading.splitlines()]
    lines += ["version: 1", *_entry("name", profile.name), *_entry("source", profile.source)]
    if profile.graph:
        lines += _entry("graph", profile.graph)
    if profile.history_units is not None:
        lines += _entry("history_units", profile.history_units)
    lines += ["nodes:", *(f"  {_flow(n)}: {_flow(_plain(c))}" for n, c in profile.nodes.items())]
    if profile.transfers:
        lines += ["transfers:", *(f"  {_flow(n)}: {_flow(_plain(d))}" for n, d in profile.transfers.items())]
    lines += [f"clock: {_flow(_plain(profile.clock))}"]
    if profile.machines:
        lines += ["machines:", *(f"  {_flow(n)}: {_flow(_plain(m))}" for n, m in profile.machines.items())]
    if profile.rows:
        lines += ["rows:", f"  columns: {_flow(list(profile.columns))}", "  ms:"]
        lines += [f"    - [{', '.join(f'{value:.6g}' for value in row)}]" for row in profile.rows]
    return "\n".join(lines) + "\n"


def _profile(tree: Item, stem: str, name: str, problems: Problems) -> Profile:
    read = Reader(tree, "profile", TOP_KEYS, problems)
    version = read.integer("version", 1)
    if version != 1:
        problems.add(read.mark("version"), f"version: found {version} (expected 1), measure it again")
    source = read.text("source", "")
    nodes = {key: _node(key, item, source, problems) for key, item in read.named("nodes").items()}
    delays = read.named("transfers").items()
    transfers = {key: _delay(f"transfer '{key}'", item, source, problems) for key, item in delays}
    machines = {key: _machine(key, item, source, problems) for key, item in read.named("machines").items()}
    columns, rows = _rows(tree.get("rows"), [*nodes, *transfers, CLOCK], problems)
    return Profile(
        name=read.text("name", stem),
        source=source,
        nodes=nodes,
        transfers=transfers,
        clock=_clock(tree.get("clock"), source, problems),
        machines=machines,
        columns=columns,
        rows=rows,
        graph=read.text("graph", ""),
        history_units=read.integer("history_units", None),
        where=name,
    )


def _node(name: str, item: Item, source: str, problems: Problems) -> NodeCost:
    where = f"node '{name}'"
    read = Reader(item, where, NODE_KEYS, problems)
    levels = item.get("level_ms")
    values = [] if levels is None else levels.plain()
    if not isinstance(values, list) or not all(_is_time(v) for v in values):
        problems.add(read.mark("level_ms"), f"{where}: level_ms: found {kind_name(values)} (expected a list of ms)")
        values = []
    cost = _time(read, where, "cost_ms", values[0] if values else None, problems)
    return NodeCost(
        cost_ms=cost or 0.0,
        source=_source(read, where, source, problems),
        p95_ms=_spread(read, where, cost, problems),
        per_unit_ms=read.number("per_unit_ms", 0.0),
        hold_ms=_time(read, where, "hold_ms", 0.0, problems) or 0.0,
        cpu_ms=_time(read, where, "cpu_ms", None, problems) if item.get("cpu_ms") else None,
        threads=_threads(read, where, problems),
        level_ms=tuple(float(v) for v in values),
        absorb_ms=_time(read, where, "absorb_ms", None, problems) if item.get("absorb_ms") else None,
    )


def _threads(read: Reader, where: str, problems: Problems) -> float:
    threads = read.number("threads", 1.0)
    if not 1 <= threads <= MOST_CORES:
        problems.add(read.mark("threads"), f"{where}: threads: found {threads:g} (expected 1 to {MOST_CORES})")
        return 1.0
    return float(threads)


def _delay(where: str, item: Item, source: str, problems: Problems) -> Delay:
    read = Reader(item, where, DELAY_KEYS, problems)
    ms = _time(read, where, "ms", None, problems)
    return Delay(ms or 0.0, _source(read, where, source, problems), _spread(read, where, ms, problems))


def _clock(item: Item | None, source: str, problems: Problems) -> Lateness:
    if item is None:
        return Lateness()
    read = Reader(item, "clock", CLOCK_KEYS, problems)
    late = _time(read, "clock", "late_ms", 0.0, problems)
    return Lateness(late or 0.0, _source(read, "clock", source, problems), _spread(read, "clock", late, problems))


def _machine(name: str, item: Item, source: str, problems: Problems) -> Machine:
    where = f"machine '{name}'"
    read = Reader(item, where, MACHINE_KEYS, problems)
    cores = read.integer("cores", None)
    if cores is not None and not 1 <= cores <= MOST_CORES:
        problems.add(read.mark("cores"), f"{where}: cores: found {cores} (expected 1 to {MOST_CORES})")
        cores = None
    return Machine(read.strings("processes", ()), cores, _source(read, where, source, problems))


def _rows(
    item: Item | None, known: list[str], problems: Problems
) -> tuple[tuple[str, ...], tuple[tuple[float, ...], ...]]:
    if item is None:
        return (), ()
    read = Reader(item, "rows", ("columns", "ms"), problems)
    columns = read.strings("columns", ())
    for name in columns:
        if name not in known:
            text = f"rows: columns: found '{name}' (expected one of: {listing(known)}){did_you_mean(name, known)}"
            problems.add(read.mark("columns"), text)
    values = item.get("ms")
    rows = values.plain() if values is not None and values.is_list else []
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns) or not all(_is_figure(v) for v in row):
            text = f"rows: ms: row {number + 1}: found {row!r:.60} (expected {len(columns)} numbers, one per column)"
            problems.add(read.mark("ms"), text)
            return columns, ()
    if not rows:
        problems.add(item.mark, "rows: found no rows (expected ms: a list of rows), leave rows out")
    return columns, tuple(tuple(float(v) for v in row) for row in rows)


def _time(read: Reader, where: str, key: str, default: Any, problems: Problems) -> float | None:
    value = read.number(key, default)
    if value is None:
        problems.add(read.item.mark, f"{where}: found no {key} (expected milliseconds), add {key}: 5")
        return None
    if not _is_time(value):
        problems.add(read.mark(key), f"{where}: {key}: found {value:g} (expected 0 or more, milliseconds)")
        return None
    return float(value)


def _spread(read: Reader, where: str, typical: float | None, problems: Problems) -> float | None:
    p95 = read.number("p95_ms", None)
    if p95 is not None and typical is not None and not p95 >= typical:
        text = f"{where}: p95_ms: found {p95:g} (expected {typical:g} or more, the typical value)"
        problems.add(read.mark("p95_ms"), text)
        return None
    return None if p95 is None else float(p95)


def _source(read: Reader, where: str, default: str, problems: Problems) -> str:
    source = str(read.text("source", default))
    if not source:
        problems.add(
            read.item.mark,
            f"{where}: found no source (expected where the figures come from), add source: assumed, or a reference",
        )
    return source


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_figure(value: Any) -> bool:
    return _is_number(value) and abs(value) <= LONGEST_MS


def _is_time(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= LONGEST_MS


def _plain(entry: NodeCost | Delay | Lateness | Machine) -> dict[str, Any]:
    """Fields that differ from the defaults, times to the microsecond."""
    plain = {}
    for key, value in vars(entry).items():
        if value is None or value == () or value == UNSAID.get(key):
            continue
        plain[key] = _rounded(value)
    return plain


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    return [_rounded(v) for v in value] if isinstance(value, tuple) else value


def _entry(key: str, value: Any) -> list[str]:
    return [f"{key}: {_flow(value)}"]


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")
