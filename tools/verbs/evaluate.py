"""``wangraph evaluate``: dialogues that a checkpoint holds by itself, and how good they were."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...runtime.errors import UserError
from ..shared.options import FiniteRange, parse_sets, refuse_unused, set_option

if TYPE_CHECKING:
    from ..lab.evaluate.rows import Row, Setting

_SOLVED = {"steps", "temperature", "seed"}
_LONG_RUN = {"checkpoint", "voices", "hold_out", "dialogues", "processes", "as_json_", "plots"} | _SOLVED
_OUTSIDER = _LONG_RUN - _SOLVED | {"only", "first"}
MODES = {
    "": _LONG_RUN | {"only", "first", "no_floors"},
    "also": _LONG_RUN - {"plots"} | {"only", "first"},
    "graph": _OUTSIDER | {"sets"},
    "agent": _OUTSIDER,
    "cascade": _LONG_RUN,
    "drift": _LONG_RUN,
    "fit_recogniser": set[str](),
    "audio": {"checkpoint", "as_json_"} | _SOLVED,
}
"""What else may be given with the option that says what is evaluated; with none of them, a checkpoint is."""

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("evaluate")
@click.option("--checkpoint", default="tiny", show_default=True, help="Preset, .safetensors file or folder.")
@click.option("--voices", type=_FOLDER, metavar="DIR", help="Recorded people, too: WORD_PERSON_TAKE.wav")
@click.option("--hold-out", multiple=True, metavar="NAME", help="Speakers kept from its training, besides the usual.")
@click.option("--dialogues", type=click.IntRange(min=2), default=48, show_default=True, help="Of each kind.")
@click.option("--first", type=click.IntRange(min=0), default=0, show_default=True, metavar="NUMBER",
              help="Of the first dialogue of each kind: others than those by which something was chosen.")  # fmt: skip
@click.option("--only", multiple=True, metavar="KIND", help="Kinds of dialogues, instead of all.")
@click.option("--steps", type=click.IntRange(min=1), default=6, show_default=True, help="Of the solver.")
@click.option("--temperature", type=FiniteRange(min=0), default=0.7, show_default=True, help="Of the voice.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise.")
@click.option("--no-floors", is_flag=True, help="Leave out untrained weights and other users' pictures.")
@click.option("--processes", type=click.IntRange(min=1), show_default="2; with --agent 1", help="Side by side.")
@click.option("--json", "as_json_", is_flag=True, help="Figures as JSON, with their intervals and goals.")
@click.option("--plots", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Pictures, too.")
@click.option("--also", multiple=True, metavar="CHECKPOINT", help="Beside others: seeds of a training, their spread.")
@click.option("--graph", metavar="GRAPH", help="Instead of a checkpoint: any graph that takes a user in.")
@set_option
@click.option("--agent", metavar="URL", help="Instead of a checkpoint: an agent behind a WebSocket.")
@click.option("--cascade", is_flag=True, help="Instead: a cascade that waits for silence, over its timeout.")
@click.option("--drift", is_flag=True, help="Instead: five minutes at a stretch, the last against the first.")
@click.option("--fit-recogniser", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Instead: train what hears the agents' words anew.")  # fmt: skip
@click.option("--audio", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Instead: a recording of somebody saying digits, and what is answered.")  # fmt: skip
def command(
    checkpoint: str,
    voices: Path | None,
    hold_out: tuple[str, ...],
    dialogues: int,
    first: int,
    only: tuple[str, ...],
    steps: int,
    temperature: float,
    seed: int,
    no_floors: bool,
    processes: int | None,
    as_json_: bool,
    plots: Path | None,
    also: tuple[str, ...],
    graph: str | None,
    sets: tuple[str, ...],
    agent: str | None,
    cascade: bool,
    drift: bool,
    fit_recogniser: Path | None,
    audio: Path | None,
) -> None:
    """Measure how a model converses: it hears, sees and answers users whom it never met, who react to it.

    \b
    wangraph evaluate                              the shipped checkpoint, all measures
    wangraph evaluate --voices DIR --plots out     with recorded people, and pictures
    wangraph evaluate --only hands --only cards    some kinds of dialogues
    wangraph evaluate --also a.safetensors         other seeds beside it, and the spread
    wangraph evaluate --audio me.wav               what it makes of a recording
    wangraph evaluate --graph cascade --set timeout_ms=400
    wangraph evaluate --agent ws://127.0.0.1:8765  docs/benchmark.md: what is expected of it
    """
    refuse_unused(click.get_current_context(), MODES)
    processes = processes or (2 if agent is None else 1)  # who talks with one at a time need not talk with two
    _check_outsider(graph, sets, agent, processes)

    from ...wan_core.errors import ModelError
    from ...wan_core.flow import Solver
    from ..lab.evaluate.rows import Setting

    try:
        setting = Setting(
            checkpoint,
            voices and voices.resolve(),
            tuple(sorted(hold_out)),
            dialogues,
            Solver(steps, audio_temperature=temperature),
            seed,
            graph or "",
            tuple(parse_sets(sets).items()),
            agent or "",
            first,
        )
        _check(setting, only, plots)
        if fit_recogniser is not None:
            _fit(fit_recogniser)
        elif audio is not None:
            from ..lab.evaluate.recording import listen

            listen(setting, audio, as_json_)
        elif cascade:
            from ..lab.evaluate.sweep import sweep

            sweep(setting, processes, as_json_, plots)
        elif drift:
            from ..lab.evaluate.drift import evaluate_drift

            evaluate_drift(setting, processes, as_json_, plots)
        elif also:
            from ..lab.evaluate.seeds import evaluate_seeds

            evaluate_seeds(setting, also, _stations(only), processes, as_json_)
        else:
            _evaluate(setting, no_floors, only, processes, as_json_, plots)
    except ModelError as error:
        raise UserError(str(error)) from error


def _check_outsider(graph: str | None, sets: tuple[str, ...], agent: str | None, processes: int) -> None:
    """Look whether there is a graph, or an agent, before voices and eyes are made: that takes a while.

    Raises:
        UserError, RunError: there is none that can be put before the world.
    """
    if graph is not None:
        from ..lab.world.against import check_graph

        check_graph(graph, settings=parse_sets(sets))
    if agent is not None:
        from ..lab.world.websocket import check_agent

        check_agent(agent, processes)


def _check(setting: Setting, only: tuple[str, ...], plots: Path | None) -> None:
    """Look whether there are so many dialogues, somebody to hold them with, and something to draw with.

    Raises:
        UserError, MissingExtra: there is not.
    """
    from ..lab.evaluate.plots import ready
    from ..lab.evaluate.probes import PER_PROBE
    from ..lab.evaluate.voices import Voices

    if plots is not None:
        ready(plots)
    if "asks-person" in only:
        Voices.held_out(setting.recordings, setting.hold_out).check_people(setting.recordings)
    if setting.first + setting.dialogues > PER_PROBE:
        raise UserError(
            f"--first: found {setting.first}, and {setting.dialogues} dialogues from there on (expected {PER_PROBE:,} "
            "in all, at most), ask for fewer"
        )


def _fit(path: Path) -> None:
    from ..lab.evaluate.recogniser import fit
    from ..lab.world.voices import Bank

    click.echo(f"{path}: {fit(Bank(), path):.1%} of clips without a mistake")


def _stations(only: tuple[str, ...], row: Row = "model") -> tuple[str, ...]:
    """The kinds of dialogues that are asked for, of those that the row is put through.

    Raises:
        UserError: one that there is not.
    """
    from ...runtime.errors import did_you_mean, listing
    from ..lab.evaluate.rows import STATIONS_OF

    known = STATIONS_OF[row]
    for name in only:
        if name not in known:
            raise UserError(f"--only: found '{name}' (available: {listing(known)}){did_you_mean(name, known)}")
    return only or known


def _evaluate(
    setting: Setting, no_floors: bool, only: tuple[str, ...], processes: int, as_json_: bool, plots: Path | None
) -> None:
    from ..lab.evaluate.pace import facts_of
    from ..lab.evaluate.report import as_json, as_table
    from ..lab.evaluate.rows import measured
    from ..shared.tables import console

    rows: tuple[Row, ...] = ("graph" if setting.graph else "agent" if setting.agent else "model", "reference")
    rows += () if no_floors or rows[0] != "model" else ("astray", "random")
    stations = _stations(only, rows[0])
    began = time.monotonic()
    facts = facts_of(setting)
    found = measured([setting], rows, stations, processes)[setting]
    facts["seconds"] = round(time.monotonic() - began, 1)
    unknown = next(iter(found.values())).unknown
    if unknown:
        facts["unknown words"] = ", ".join(unknown)
    named = {str(row): findings for row, findings in found.items()}
    if as_json_:
        click.echo(json.dumps(as_json(named, facts), indent=2))
    else:
        out = console()
        out.print(as_table(named))
        for key, value in facts.items():
            out.print(f"{key}: {value}")
    if plots is not None:
        from ..lab.evaluate.plots import draw

        draw(setting, named, plots)
