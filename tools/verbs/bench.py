"""``wangraph bench``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import click

from ..bench.machine import machine_line
from ..bench.report import Benchmark, OnRound, Report, ignored
from ..fuzz.command import command as fuzz
from ..shared.group import Group
from ..shared.json_file import check_json, write_json
from ..shared.options import FiniteRange, force_option
from ..shared.tables import console, table

BENCHES: dict[str, str] = {
    "clock": "How punctual the 25 fps tick is, idle and with every core busy.",
    "overhead": "Processor time of the runtime per unit: the duplex graph with empty bodies.",
    "duplex": "The duplex agent on its clock: latency, misses, time to the first unit.",
    "prediction": "Sums and simulation by a profile against a run: graphs of different shapes.",
    "agreement": "Check, profile, simulation and run of many ordinary graphs: whether they say the same.",
    "tracing": "What records cost: per call of a body, and in processor time.",
    "recording": "Raw pictures into MCAP: processor time, and a disk that stalls for 2 s.",
    "model": "Milliseconds of each stage of the model, at 10 s to 10 minutes of history.",
    "cache": "The cache against a plain implementation, and the memory that it takes.",
    "concealment": "Sound around a lost unit: how loud the clicks are at its borders.",
    "faults": "Faults of some fifty kinds, done to runs: what is named, what is lost, what is left.",
    "growth": "Memory that every process of a run gains in an hour.",
    "device": "A payload on a GPU from process to process: in device memory, and by the host.",
    "soak": "A long conversation with a served agent: misses, skew, growth.",
    "live": "Talking with a served graph: what the way adds, and what a visitor costs.",
    "chain": "Six processes in a row: processor time of all of them, and the way from the first to the last.",
    "transport": "From one process to the other: inside a graph, over the channel alone, and as others do it.",
}


PEERED = ("chain", "transport")
"""Those that can measure other people's programs, too."""


@click.group("bench", cls=Group)
def command() -> None:
    """Measure this machine. Every round is printed with the load it met, the best one marked.

    \b
    wangraph bench clock
    wangraph bench duplex --rounds 5 --seconds 60
    wangraph bench overhead --json overhead.json
    """


def _command(name: str, about: str) -> click.Command:
    """The command of one benchmark; that of the model can be compiled, that of agreement draws so many graphs, that of
    concealment may have recorded voices, those of `PEERED` measure others, too."""
    options = [
        click.Option(["--rounds"], type=click.IntRange(min=1, max=1000), metavar="N",
                     help="Measure N times; all are printed."),
        click.Option(["--seconds"], type=FiniteRange(min=1, max=86_400), metavar="S",
                     help="Length of one measured run."),
        click.Option(["--json", "json_to"], metavar="FILE", help="Write the report as JSON; - for standard output."),
    ]  # fmt: skip
    if name == "model":
        options.append(
            click.Option(["--compile", "is_compiled"], is_flag=True, help="Run what torch.compile makes of it.")
        )
    if name == "agreement":
        options.append(click.Option(["--graphs"], type=click.IntRange(1, 1000), metavar="N", help="Draw N graphs."))
    if name == "concealment":
        options.append(
            click.Option(["--voices"], type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER",
                         help="Lose units of these recordings, too: WAV, 16 kHz, mono, 16 bits.")
        )  # fmt: skip
    if name in PEERED:
        options.append(
            click.Option(["--peers", "with_peers"], is_flag=True,
                         help="Measure others, too, in environments made for them: pip installs "
                              "them (ezmsg, dora; iceoryx2 for transport).")
        )  # fmt: skip
    if name == "faults":
        options.append(click.Option(["--only"], metavar="KIND,...", help="Do these faults alone."))
    made = click.Command(
        name,
        params=[*options],
        callback=lambda **given: _measure(name, **given),
        help=f"{about}\n\n\b\nwangraph bench {name} --rounds 3",
        short_help=about,
    )
    return force_option(made)


for _name, _about in BENCHES.items():
    command.add_command(_command(_name, _about))
command.add_command(fuzz, "fuzz")


def _measure(
    name: str,
    rounds: int | None,
    seconds: float | None,
    json_to: str | None,
    is_compiled: bool = False,
    graphs: int | None = None,
    voices: Path | None = None,
    only: str | None = None,
    with_peers: bool = False,
) -> None:
    bench = find(name)
    check_json(json_to)
    rounds = bench.ROUNDS if rounds is None else rounds
    seconds = bench.SECONDS if seconds is None else seconds
    if is_compiled:
        from ..bench import model

        report = model.run(rounds, seconds, _progress(rounds), model.Scale(compile=True))
    elif graphs is not None:
        from ..bench import agreement

        report = agreement.run(rounds, seconds, _progress(rounds), graphs)
    elif voices is not None:
        from ..bench import concealment

        report = concealment.run(rounds, seconds, _progress(rounds), voices)
    elif with_peers:
        from ..bench import chain, transport

        report = {"chain": chain, "transport": transport}[name].run(rounds, seconds, _progress(rounds), with_peers=True)
    elif name == "faults":
        from ..bench import faults

        report = faults.run(rounds, seconds, _progress(rounds), only, _each_trial)
    else:
        report = bench.run(rounds, seconds, _progress(rounds))
    if json_to is not None:
        write_json(report, json_to)
    if json_to != "-":
        show(bench, report)


def find(name: str) -> Benchmark:
    """The benchmark of that name, one of `BENCHES`."""
    return cast(Benchmark, import_module(f"..bench.{name}", __package__))


def show(bench: Benchmark, report: Report) -> None:
    """Print machine, parameters, every round, and which was the best."""
    out = console()
    out.print(f"{report['bench']}: {machine_line(report['machine'])}", soft_wrap=True, markup=False)
    shown = {name: value for name, value in report["parameters"].items() if not isinstance(value, dict | list)}
    threads = report["parameters"].get("threads")
    if threads:
        shown["torch threads"] = " ".join(f"{process} {n}" for process, n in threads.items())
    out.print("  " + ", ".join(f"{name} {value}" for name, value in shown.items()), soft_wrap=True, markup=False)
    made = bench.table(report)
    printed = table("", *made.columns, right=made.columns)
    for row in made.rows:
        is_best = row[0] == report["best"]
        cells = ["" if cell is None else str(cell) for cell in row]
        printed.add_row("best" if is_best else "", *cells, style="bold" if is_best else None)
    out.print(printed)
    if report["aim"]:
        out.print(f"  aim: {report['aim']}", soft_wrap=True, markup=False)


def _each_trial(kind: str, found: dict[str, Any]) -> None:
    """A line for each fault: all of them take an hour."""
    click.echo(f"{kind}, unit {found['unit']}: {'; '.join(found['broken']) or 'kept'}", err=True)


def _progress(rounds: int) -> OnRound:
    """Counts rounds where somebody sits and waits."""
    if not sys.stderr.isatty():
        return ignored
    return lambda measured: click.echo(f"round {measured['round']} of {rounds}", err=True)
