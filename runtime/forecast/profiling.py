"""Runs a graph on its clock to learn what it costs: the profile of this graph on this machine."""

from __future__ import annotations

import datetime
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..engine.options import Options
from ..engine.run import Run
from ..observe.records import read_trace
from ..plan.catalogue import resolve
from ..plan.plan import Plan
from .body_shares import Share, body_shares
from .measure import measured
from .profile import Profile


def profile_run(plan: Plan, units: int, shares: Mapping[str, Share] | None = None) -> tuple[Profile, dict[str, Any]]:
    """Run a graph on its clock; its profile, and the run's summary.

    Args:
        shares: what each node does with its time, see `shares_of`.

    Raises:
        WangraphError: the run failed, or was too short.
    """
    with tempfile.TemporaryDirectory(prefix="wangraph-") as folder:
        trace = Path(folder) / "profile.trace"
        run = Run(plan, Options(units=units, trace=trace))
        run.start().wait()
        records = list(read_trace(trace))
    source = f"measured {datetime.date.today().isoformat()}"
    return measured(plan, records, source, cores=run.summary["machine"]["cores"], shares=shares), run.summary


def shares_of(plan: Plan, units: int) -> dict[str, Share]:
    """Shares of each node's time; nothing where a live device cannot be opened twice."""
    if any(resolve(node.target).is_live for node in plan.nodes.values()):
        return {}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(max(p.threads for p in plan.processes.values())))
    return body_shares(plan, units)
