"""Options and checks that the commands of ``wangraph evaluate`` share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ....runtime.errors import UserError, did_you_mean, listing
from ...shared.options import FiniteRange, force_option

if TYPE_CHECKING:
    from ...lab.evaluate.rows import Row, Setting

F = TypeVar("F", bound=Callable[..., Any])

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

checkpoint_argument = click.argument("checkpoint", default="tiny", metavar="[CHECKPOINT]")
codecs_option = click.option(
    "--checkpoint",
    default="tiny",
    show_default=True,
    help="Whose codecs the ideal agent beside it is seen and heard through.",
)
only_option = click.option("--only", multiple=True, metavar="KIND", help="Kinds of dialogues, instead of all.")
first_option = click.option(
    "--first",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="NUMBER",
    help="Number of the first dialogue of each kind: others than those by which something was chosen.",
)
processes_option = click.option(
    "--processes", type=click.IntRange(min=1), default=2, show_default=True, help="Dialogues side by side."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Figures as JSON, with their intervals and goals.")


def plots_option(function: F) -> F:
    """Options for pictures: their folder, and what they may replace."""
    plots = click.option(
        "--plots", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write pictures, too."
    )
    return force_option(plots(function))


export_option = click.option(
    "--export",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write every dialogue as sounds, video and cues, for other benchmarks.",
)


def dialogues_option(default: int, most: int | None = None) -> Callable[[F], F]:
    """Option for the number of dialogues."""
    return click.option(
        "--dialogues",
        type=click.IntRange(min=2, max=most),
        default=default,
        show_default=True,
        help="Number of dialogues of each kind.",
    )


def people_options(function: F) -> F:
    """Options for the voices of the users."""
    hold_out = click.option(
        "--hold-out", multiple=True, metavar="NAME", help="Speakers kept from its training, besides the usual."
    )
    voices = click.option("--voices", type=_FOLDER, metavar="DIR", help="Recorded people, too: WORD_PERSON_TAKE.wav")
    return voices(hold_out(function))


def solver_options(function: F) -> F:
    """Options for how a checkpoint's responses are solved."""
    steps = click.option(
        "--steps", type=click.IntRange(min=1), default=6, show_default=True, help="Steps of the solver."
    )
    temperature = click.option(
        "--temperature", type=FiniteRange(min=0), default=0.7, show_default=True, help="Temperature of the voice."
    )
    seed = click.option("--seed", type=int, default=0, show_default=True, help="Seed of the noise.")
    return steps(temperature(seed(function)))


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn errors of the model into the user's: here they come from what was asked for."""
    from ....wan_core.errors import ModelError

    try:
        yield
    except ModelError as error:
        raise UserError(str(error)) from error


def people(voices: Path | None, hold_out: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a `Setting` that say whose voices the users have."""
    return {"recordings": voices and voices.resolve(), "hold_out": tuple(sorted(hold_out))}


def solved(steps: int, temperature: float, seed: int) -> dict[str, Any]:
    """The fields of a `Setting` that say how responses are solved."""
    from ....wan_core.flow import Solver

    return {"solver": Solver(steps, audio_temperature=temperature), "seed": seed}


def check(setting: Setting, only: tuple[str, ...] = (), plots: Path | None = None) -> None:
    """Pass if there are so many dialogues, somebody to hold them with, and something to draw with.

    Raises:
        UserError, MissingExtra: there is not.
    """
    from ...lab.evaluate.plots import ready
    from ...lab.evaluate.probes import PER_PROBE
    from ...lab.evaluate.voices import Voices

    if plots is not None:
        ready(plots)
    if "asks-person" in only:
        Voices.held_out(setting.recordings, setting.hold_out).check_people(setting.recordings)
    if setting.first + setting.dialogues > PER_PROBE:
        raise UserError(
            f"--first: found {setting.first}, and {setting.dialogues} dialogues from there on (expected {PER_PROBE:,} "
            "in all, at most), ask for fewer"
        )


def tasks(only: tuple[str, ...], row: Row = "model") -> tuple[str, ...]:
    """The kinds of dialogues that are asked for, of those that the row is put through.

    Raises:
        UserError: one that there is not.
    """
    from ...lab.evaluate.rows import TASKS_OF

    known = TASKS_OF[row]
    for name in only:
        if name not in known:
            raise UserError(f"--only: found '{name}' (available: {listing(known)}){did_you_mean(name, known)}")
    return only or known


def show(
    setting: Setting,
    rows: tuple[Row, ...],
    only: tuple[str, ...],
    processes: int,
    as_json: bool,
    plots: Path | None,
) -> None:
    """Measure these rows, and print and draw what was found."""
    from ...lab.evaluate import report
    from ...lab.evaluate.pace import facts_of
    from ...lab.evaluate.rows import measured
    from ...shared.tables import console

    chosen = tasks(only, rows[0])
    began = time.monotonic()
    facts = facts_of(setting)
    found = measured([setting], rows, chosen, processes)[setting]
    facts["seconds"] = round(time.monotonic() - began, 1)
    unknown = next(iter(found.values())).unknown
    if unknown:
        facts["unknown words"] = ", ".join(unknown)
    named = {str(row): findings for row, findings in found.items()}
    if as_json:
        click.echo(json.dumps(report.as_json(named, facts), indent=2))
    else:
        out = console()
        out.print(report.as_table(named))
        for key, value in facts.items():
            out.print(f"{key}: {value}")
    if plots is not None:
        from ...lab.evaluate.plots import draw

        draw(setting, named, plots)
