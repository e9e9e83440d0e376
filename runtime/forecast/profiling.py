"""Runs a graph on its clock to learn what it costs: the profile of this graph on this machine."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engine.launcher import limit_threads
from ..engine.options import Options
from ..engine.run import Run
from ..errors import RunError
from ..observe.records import Record, read_trace
from ..plan.catalogue import resolve
from ..plan.plan import Plan
from .body_shares import Share, body_shares
from .measure import measured
from .profile import Profile

PATIENT_UNITS = 8


def profile_run(plan: Plan, units: int, shares: Mapping[str, Share] | None = None) -> tuple[Profile, dict[str, Any]]:
    """Run a graph on its clock; its profile, and the run's summary.

    Args:
        shares: what each node does with its time, see `shares_of`.

    Raises:
        WangraphError: the run failed, or was too short.
    """
    summary, records = _recorded(plan, units)
    source = f"measured {datetime.date.today().isoformat()}"
    cores = summary["machine"]["cores"]
    try:
        return measured(plan, records, source, cores=cores, shares=shares), summary
    except RunError:  # a node never answered: with its deadline the graph cannot be measured, but its nodes can
        _, records = _recorded(_patient(plan), units)
    return measured(plan, records, source, cores=cores, shares=shares), summary


def _recorded(plan: Plan, units: int) -> tuple[dict[str, Any], list[Record]]:
    with tempfile.TemporaryDirectory(prefix="wangraph-") as folder:
        trace = Path(folder) / "profile.trace"
        run = Run(plan, Options(units=units, trace=trace))
        run.start().wait()
        return run.summary, list(read_trace(trace))


def _patient(plan: Plan) -> Plan:
    """The graph with every due `PATIENT_UNITS` later: what is too slow for its deadline answers all the same."""
    later_ns = PATIENT_UNITS * plan.clock.period_ns
    nodes = {
        name: node if node.due_ns is None else replace(node, due_ns=node.due_ns + later_ns)
        for name, node in plan.nodes.items()
    }
    streams = {
        name: replace(
            stream,
            settle_ns=None if stream.settle_ns is None else stream.settle_ns + later_ns,
            window=stream.window + PATIENT_UNITS,
        )
        for name, stream in plan.streams.items()
    }
    return replace(plan, latency_ns=plan.latency_ns + later_ns, nodes=nodes, streams=streams)


def shares_of(plan: Plan, units: int) -> dict[str, Share]:
    """Shares of each node's time; nothing where a live device cannot be opened twice."""
    if any(resolve(node.target).is_live for node in plan.nodes.values()):
        return {}
    limit_threads(max(p.threads for p in plan.processes.values()))
    return body_shares(plan, units)
