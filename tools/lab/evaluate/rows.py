"""The rows of the table: who runs the tasks, and in which processes.

A job is one task for one row; jobs run side by side, each on one thread, so that both cores have work while
Python draws and torch multiplies.
"""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeVar

import click
import torch

from ....wan_core.checkpoint_header import find, inspect
from ....wan_core.flow import Solver
from ..world.conversation import warning_of
from ..world.voices import Bank
from .agents import SOLVER, AblatedVision, IdealAgent, ModelAgent, Weights
from .export import export
from .face_reader import Reader, reader
from .measures import in_sound
from .recogniser import Recogniser, recogniser
from .report import progress
from .runners import graph_runner, websocket_runner
from .talk import Agent, DialogueSpec, Talk, hold
from .tasks import BY_SIGHT, TASKS, Findings, Runner
from .voices import Voices

Row = Literal["model", "graph", "agent", "reference", "ablated vision", "random"]
"""The checkpoint; a graph; who is behind a WebSocket; the ideal agent through the codecs; the checkpoint seeing another
user; random weights."""

TASKS_OF: Mapping[Row, tuple[str, ...]] = {
    "model": tuple(TASKS),
    "graph": tuple(name for name in TASKS if name != "persona"),
    "agent": tuple(name for name in TASKS if name != "persona"),
    "reference": tuple(TASKS),
    "ablated vision": BY_SIGHT,
    "random": ("asks", "interruptions", "asides", "cards"),
}
ROWS_AT_ONCE = 48
"""Dialogues in a batch."""


@dataclass(frozen=True)
class Setting:
    """Setting of an evaluation; equal settings give equal figures.

    Attributes:
        checkpoint: preset, file or folder.
        recordings: folder of recorded people, or None.
        hold_out: speakers kept from its training, besides the usual ones.
        dialogues: of each task.
        solver: how its responses are solved.
        seed: of the noise.
        graph: path or shipped name of the graph that the row ``graph`` is of; empty: none.
        sets: its parameters, in order.
        agent: address of the WebSocket that the row ``agent`` is of; empty: none.
        first: number of the first dialogue of each task.
        export: folder that every dialogue of the row ``model`` is written to; None: none is.
    """

    checkpoint: str
    recordings: Path | None = None
    hold_out: tuple[str, ...] = ()
    dialogues: int = 48
    solver: Solver = SOLVER
    seed: int = 0
    graph: str = ""
    sets: tuple[tuple[str, str], ...] = ()
    agent: str = ""
    first: int = 0
    export: Path | None = None


@dataclass(frozen=True)
class Tools:
    """Tools of every job, made once in each process."""

    voices: Voices
    net: Recogniser
    read: Reader
    size: int
    agents: Mapping[Row, Callable[[], Agent]]

    def runner(self, row: Row, setting: Setting) -> Runner:
        """Runner of dialogues with the agent of a row."""
        if row == "graph":
            return graph_runner(setting.graph, dict(setting.sets), self.voices.bank, self.read, self.size)

        if row == "agent":
            return websocket_runner(setting.agent, self.voices.bank, self.read, self.size)
        return runner_of(self.agents[row], self.voices.bank, self.read, self.size, keeps=_is_exported(setting, row))


def runner_of(agent: Callable[[], Agent], bank: Bank, read: Reader, size: int, keeps: bool = False) -> Runner:
    """Dialogues with an agent, `ROWS_AT_ONCE` in a batch; with ``keeps`` they have their pictures."""

    def run_dialogues(specs: Sequence[DialogueSpec], units: int) -> list[Talk]:
        talks: list[Talk] = []
        for some in batches(specs):
            talks += hold(agent(), some, units, bank, read, size, keep_frames=len(some) if keeps else 0)
        return talks

    return run_dialogues


def batches(specs: Sequence[DialogueSpec]) -> list[Sequence[DialogueSpec]]:
    """Batches of at most `ROWS_AT_ONCE`, of nearly the same size: the ablated-vision control needs two rows or more."""
    count = max(1, -(-len(specs) // ROWS_AT_ONCE))
    cuts = [len(specs) * i // count for i in range(count + 1)]
    return [specs[first:last] for first, last in pairwise(cuts)]


def tools(setting: Setting) -> Tools:
    """Voices, ears, eyes and agents of a setting, whatever graph or agent it names.

    Raises:
        ModelError: the checkpoint cannot be used.
        MediaError, MissingExtra: the voices cannot be used.
        UserError: somebody who was to be held out was heard in training.
    """
    return _tools(replace(setting, graph="", sets=(), agent="", export=None))


@functools.lru_cache(maxsize=1)
def _tools(setting: Setting) -> Tools:
    voices = Voices.held_out(setting.recordings, setting.hold_out)
    weights = Weights.load(setting.checkpoint)
    path = find(setting.checkpoint)
    voices.check_held_out(setting.checkpoint, inspect(path).people if path else frozenset())
    untrained = functools.cache(lambda: Weights.load(setting.checkpoint, random=True))
    agents: dict[Row, Callable[[], Agent]] = {
        "model": lambda: ModelAgent(weights, setting.solver, setting.seed),
        "reference": lambda: IdealAgent(weights, voices.bank),
        "ablated vision": lambda: AblatedVision(ModelAgent(weights, setting.solver, setting.seed)),
        "random": lambda: ModelAgent(untrained(), setting.solver, setting.seed),
    }
    return Tools(voices, recogniser(), reader(weights.size), weights.size, agents)


Job = tuple[Setting, Row, str]
"""Of a setting, a row and a task."""


def jobs_of(setting: Setting, rows: Sequence[Row], tasks: Sequence[str]) -> list[Job]:
    """Every task of every row, the longest first."""
    wanted = [(setting, row, task) for row in rows for task in TASKS_OF[row] if task in tasks]
    return sorted(wanted, key=lambda job: job[2] not in _LONG)


_LONG = ("asks", "free", "persona", "asks-flite", "asks-person")


J = TypeVar("J")
R = TypeVar("R")


def side_by_side(work: Callable[[J], R], jobs: Sequence[J], processes: int) -> Iterator[R]:
    """Results of ``work``, a function of a module, for each job, as soon as it is done; each process on one thread."""
    one = functools.partial(_one, work)
    if processes < 2:
        yield from map(one, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(processes, len(jobs)), torch.set_num_threads, (1,)) as pool:
        yield from pool.imap_unordered(one, jobs)


def _one(work: Callable[[J], R], job: J) -> R:
    """A job's work; the end of some iterator in it must not pass for the end of all jobs."""
    try:
        return work(job)
    except StopIteration as error:
        raise RuntimeError(f"evaluate: {job} ended early") from error


def run(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, Findings]]:
    """Do these jobs, yielding what each found as soon as it is known."""
    for setting in dict.fromkeys(job[0] for job in jobs):
        tools(setting)  # errors, and what is made once, before there are several processes
    yield from side_by_side(_done, jobs, processes)


def measured(
    settings: Sequence[Setting], rows: Sequence[Row], tasks: Sequence[str], processes: int
) -> dict[Setting, dict[Row, Findings]]:
    """Put the rows of each setting through these tasks, and say how far it is."""
    found: dict[Setting, dict[Row, Findings]] = {each: {row: Findings() for row in rows} for each in settings}
    jobs = [job for setting in settings for job in jobs_of(setting, rows, tasks)]
    with progress(len(jobs)) as advance:
        for (setting, row, task), findings in run(jobs, processes):
            if findings.unknown and not found[setting][row].unknown:
                click.echo(f"warning: {warning_of(row, findings.unknown)}", err=True)
            found[setting][row].add(findings)
            advance(f"{row}: {task}")
    return found


def _is_exported(setting: Setting, row: Row) -> bool:
    return setting.export is not None and row == "model"


def _done(job: Job) -> tuple[Job, Findings]:
    setting, row, task = job
    made, which = tools(setting), range(setting.first, setting.first + setting.dialogues)
    run_dialogues, unknown = made.runner(row, setting), list[str]()

    def noted(specs: Sequence[DialogueSpec], units: int) -> list[Talk]:
        talks = run_dialogues(specs, units)
        if setting.export is not None and _is_exported(setting, row):
            export(talks, [f"{task}-{talk.spec.seed}-{number}" for number, talk in enumerate(talks)], setting.export)
        unknown.extend(word for talk in talks for word in talk.unknown)
        return talks

    found = TASKS[task](noted, made.voices, in_sound(made.net), which)
    return job, replace(found, unknown=tuple(dict.fromkeys(unknown)))
