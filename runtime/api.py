"""Running graphs from Python, as ``wangraph run`` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from .engine import system
from .engine.collector import RunResult
from .engine.options import RunArguments, make_options
from .engine.run import Run
from .errors import UserError
from .plan.graph import Graph
from .plan.plan import Plan

AnyGraph = Graph | Plan | str | Path
"""Built, loaded, planned, or a path or shipped name."""


def load(reference: str | Path, settings: Mapping[str, Any] | None = None) -> Graph:
    """A graph by path or shipped name; ``settings`` as ``--set`` on the command line.

    Raises:
        GraphError: everything that is wrong with the file as text.
    """
    return Graph.load(reference, settings)


def start(graph: AnyGraph, *, seed: int = 0, **arguments: Unpack[RunArguments]) -> Run:
    """Start a graph, and return while it runs: a context manager that stops it, see `Run`.

        with wangraph.start("duplex") as run:
            for packet in run.packets("sync.video"):
                ...

    Args:
        graph: built, loaded, planned, or a path or shipped name.
        seed: of all that is drawn by chance, when the graph is not planned yet.
        arguments: how to run it, see `RunArguments`.

    Raises:
        UserError: the graph, or how it is to be run, cannot be; nothing was started.
    """
    if system.process_of_run:
        raise UserError(
            f"run: called while process '{system.process_of_run}' loads a file of nodes (expected to be called once), "
            "put the call under: if __name__ == '__main__':"
        )
    plan = graph if isinstance(graph, Plan) else (graph if isinstance(graph, Graph) else load(graph)).plan(seed)
    return Run(plan, make_options(**arguments)).start()


def run(graph: AnyGraph, *, seed: int = 0, **arguments: Unpack[RunArguments]) -> RunResult:
    """Run a graph to its end: `start` it, and wait. Ctrl-C and SIGTERM end it in order.

    Raises:
        UserError: the graph, or how it is to be run, cannot be.
        RunError: the run failed; files are closed by then.
    """
    return start(graph, seed=seed, **arguments).wait()
