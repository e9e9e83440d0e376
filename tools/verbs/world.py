"""``wangraph world``: look at the synthetic world, prove that it is fair, make the bundled user clip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ...runtime.errors import UserError
from ..shared.group import Group
from ..shared.options import force_option
from ..shared.targets import VIDEO, ZIP, Target, check_kind

if TYPE_CHECKING:
    from ..lab.world.voices import Bank, Split

F = TypeVar("F", bound=Callable[..., Any])

UNITS = 120
"""Length of a dialogue, if not given."""

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _output_option(function: F) -> F:
    """The video to write, and what it may replace."""

    def checked(_: click.Context, __: click.Parameter, output: Path) -> Path:
        check_kind(Target("-o", output, VIDEO))
        return output

    output = click.option(
        "-o",
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        required=True,
        callback=checked,
        help="MP4 to write.",
    )
    return force_option(output(function))


_hold_out_option = click.option(
    "--hold-out", multiple=True, metavar="NAME", help="Keep a speaker or synthesiser from training."
)


def _even(context: click.Context, parameter: click.Parameter, size: int) -> int:
    if size % 2:
        raise UserError(f"world: --size {size} (expected an even number, for H.264), for example {size + 1}")
    return size


_size_option = click.option(
    "--size",
    type=click.IntRange(16, 1024),
    default=64,
    show_default=True,
    callback=_even,
    help="Side of the pictures in pixels.",
)


def _users_options(function: F) -> F:
    """Options for what users do, and whose voices they have."""
    scenario = click.option("--scenario", default="everything", show_default=True, help="How users behave.")
    voices = click.option("--voices", type=_FOLDER, metavar="DIR", help="Recorded people: WORD_PERSON_TAKE.wav")
    life = click.option(
        "--life", type=_FOLDER, metavar="DIR", help="Photographs and recordings of real people and places, too."
    )
    return scenario(voices(life(_hold_out_option(function))))


def _units_option(default: int) -> Callable[[F], F]:
    return click.option(
        "--units", type=click.IntRange(min=1), default=default, show_default=True, help="Length, in units of 160 ms."
    )


@click.group("world", cls=Group)
def command() -> None:
    """The synthetic world in which agents learn to converse.

    \b
    wangraph world show 3 -o talk.mp4             a dialogue, with captions in talk.srt
    wangraph world clip 1 -o user.mp4 --size 192  the bundled user
    wangraph world check --seeds 50               the proof that it is fair
    wangraph evaluate agent ws://127.0.0.1:8765   your own agent before it; also graph (docs/benchmark.md)
    """


@command.command("show", short_help="Record a dialogue as video.")
@click.argument("seed", type=click.IntRange(min=0))
@_output_option
@_units_option(UNITS)
@_size_option
@_users_options
@click.option("--persona", default="iris", show_default=True, help="Who the agent is.")
@click.option("--held-out", is_flag=True, help="Draw users from the voices that training never gets.")
def show(
    seed: int,
    output: Path,
    units: int,
    size: int,
    scenario: str,
    voices: Path | None,
    life: Path | None,
    hold_out: tuple[str, ...],
    persona: str,
    held_out: bool,
) -> None:
    """Record the dialogue of a SEED as video: the user on the left, the ideal agent on the right.

    \b
    wangraph world show 3 -o talk.mp4
    wangraph world show 3 -o talk.mp4 --scenario overlap --persona otto
    """
    from ..lab.world.dialogue import play
    from ..lab.world.media import write_both
    from ..lab.world.persona import persona as persona_named
    from ..lab.world.script import scenario as scenario_named

    split: Split = "held-out" if held_out else "train"
    behaviour, character = scenario_named(scenario), persona_named(persona)
    bank = _bank(voices, hold_out, life)
    write_both(play(seed, units, bank, behaviour, split=split, persona=character, size=size), output)
    click.echo(f"{output}")


@command.command("clip", short_help="Record the bundled user as video.")
@click.argument("seed", type=click.IntRange(min=0))
@_output_option
@click.option(
    "--units",
    type=click.IntRange(min=1),
    show_default="all that the user does",
    help="Length, in units of 160 ms.",
)
@_size_option
@_hold_out_option
def clip(seed: int, output: Path, units: int | None, size: int, hold_out: tuple[str, ...]) -> None:
    """Record the bundled user as video: a fixed course of acts, by one person, drawn by SEED otherwise.

    \b
    wangraph world clip 1 -o user.mp4 --size 192
    """
    from ..lab.world.clip import CLIP_UNITS
    from ..lab.world.clip import clip as play_clip
    from ..lab.world.media import write_user

    write_user(play_clip(seed, _bank(None, hold_out), size, units or CLIP_UNITS), output)
    click.echo(f"{output}")


@command.command("check", short_help="Prove that the ideal agent follows cues only.")
@click.option("--seeds", type=click.IntRange(min=1), default=20, show_default=True, help="Dialogues to check.")
@_units_option(UNITS)
@_users_options
def check(
    seeds: int, units: int, scenario: str, voices: Path | None, life: Path | None, hold_out: tuple[str, ...]
) -> None:
    """Prove that every change of the ideal agent follows a cue that it could observe. Ends with 1 where it is not so.

    \b
    wangraph world check --seeds 50
    """
    from ..lab.world.check import check_world
    from ..lab.world.script import scenario as scenario_named

    behaviour = scenario_named(scenario)
    report = check_world(range(seeds), units, _bank(voices, hold_out, life), behaviour)
    click.echo(report.text())
    if not report.is_fair:
        raise click.exceptions.Exit(1)


@command.command("bank", short_help="Write the voices that are shipped.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="ZIP file to write."
)
@force_option
def bank(output: Path) -> None:
    """Write the voices that are shipped: those of the agents, and of the users that training never gets.

    \b
    wangraph world bank -o voices.zip
    """
    from ..lab.world.persona import agent_speakers
    from ..lab.world.voices import write_shipped

    check_kind(Target("-o", output, ZIP))

    click.echo(f"{output}: {write_shipped(output, agent_speakers())} speakers")


@command.command("compose", short_help="Put a clip and recordings together, with their cues.")
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--voices", type=_FOLDER, metavar="DIR", required=True, help="Recordings: WORD_PERSON_TAKE.wav")
@click.option("--person", metavar="NAME", required=True, help="Whose voice is used.")
@_output_option
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of what is said.")
@click.option("--turns", type=click.IntRange(min=1), default=10, show_default=True, help="Number of turns.")
def compose(video: Path, voices: Path, person: str, output: Path, seed: int, turns: int) -> None:
    """Put the pictures of VIDEO and recorded digits together: a video to measure with, its cues beside it as JSON.

    
    wangraph world compose me.mp4 --voices DIR --person anna -o videos/anna.mp4
    wangraph evaluate real videos
    """
    from ...runtime.errors import did_you_mean, listing
    from ..lab.evaluate.compose import compose as put_together
    from ..lab.world.life.material import read_clip

    bank = _bank(voices, ())
    speakers = {speaker.name: speaker for speaker in bank.speakers if speaker.synthesiser == "people"}
    if person not in speakers:
        raise UserError(
            f"--person: found '{person}' (available: {listing(speakers)}){did_you_mean(person, list(speakers))}"
        )
    pictures, _ = read_clip(video, 160)
    cues = put_together(output, bank.takes(speakers[person]), pictures, seed, turns)
    click.echo(f"{output}: {turns} turns, {sum(cue.kind == 'word' for cue in cues)} words")


def _bank(voices: Path | None, hold_out: tuple[str, ...], life: Path | None = None) -> Bank:
    from ..lab.world.voices import HELD_OUT, Bank

    return Bank(voices, HELD_OUT.union(hold_out), life=life)
