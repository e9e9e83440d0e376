"""``wangraph world``: look at the synthetic world, prove that it is fair, make the bundled user clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...runtime.errors import UserError
from ..shared.options import refuse_unused

if TYPE_CHECKING:
    from ..lab.world.script import Scenario
    from ..lab.world.voices import Bank, Split

UNITS = 120
"""Length of a dialogue, if not given."""

_TALK = {"units", "scenario", "voices", "hold_out"}
MODES = {
    "show": _TALK | {"output", "size", "persona", "held_out"},
    "clip": {"output", "units", "size", "hold_out"},
    "check": _TALK | {"seeds"},
    "bank": {"output"},
}
"""What else may be given with the option that says what is done."""

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("world")
@click.option(
    "--show", type=click.IntRange(min=0), metavar="SEED", help="Film a dialogue: user left, ideal agent right."
)
@click.option(
    "--clip",
    type=click.IntRange(min=0),
    metavar="SEED",
    help="Film the bundled user: a fixed course of acts, one person.",
)
@click.option("--check", is_flag=True, help="Prove that every change of the agent follows a cue that it could observe.")
@click.option("--bank", is_flag=True, help="Write the voices that are shipped: the agents', and held-out users'.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="MP4 (or ZIP) to write.")
@click.option("--units", type=click.IntRange(min=1), help="Length, in units of 160 ms.")
@click.option("--size", type=click.IntRange(16, 1024), default=64, show_default=True, help="Side of the pictures.")
@click.option("--seeds", type=click.IntRange(min=1), default=20, show_default=True, help="Dialogues to check.")
@click.option("--scenario", default="everything", show_default=True, help="How users behave.")
@click.option("--persona", default="iris", show_default=True, help="Who the agent is.")
@click.option("--voices", type=_FOLDER, help="Recorded people: WORD_PERSON_TAKE.wav")
@click.option("--hold-out", multiple=True, metavar="NAME", help="Keep a speaker or synthesiser from training.")
@click.option("--held-out", is_flag=True, help="Users are drawn from the voices that training never hears.")
def command(
    show: int | None,
    clip: int | None,
    check: bool,
    bank: bool,
    output: Path | None,
    units: int | None,
    size: int,
    seeds: int,
    scenario: str,
    persona: str,
    voices: Path | None,
    hold_out: tuple[str, ...],
    held_out: bool,
) -> None:
    """The synthetic world in which agents learn to converse.

    \b
    wangraph world --show 3 -o talk.mp4            a dialogue, with captions in talk.srt
    wangraph world --clip 1 -o user.mp4 --size 192  the bundled user
    wangraph world --check --seeds 50              the proof that it is fair
    wangraph evaluate --agent ws://127.0.0.1:8765  your own agent before it; also --graph (docs/benchmark.md)
    """
    if [show is not None, clip is not None, check, bank].count(True) != 1:
        raise UserError("world: expected exactly one of --show SEED, --clip SEED, --check and --bank")
    refuse_unused(click.get_current_context(), MODES)
    if size % 2:
        raise UserError(f"world: --size {size} (expected an even number, for H.264), for example {size + 1}")
    if not check and output is None:
        raise UserError("world: no file to write, add -o FILE")

    from ..lab.world.persona import agent_speakers
    from ..lab.world.script import scenario as scenario_named
    from ..lab.world.voices import HELD_OUT, Bank, write_shipped

    behaviour = scenario_named(scenario)
    voices_of = Bank(voices, HELD_OUT.union(hold_out))
    if check:
        _check(range(seeds), units, voices_of, behaviour)
        return
    assert output is not None
    if bank:
        click.echo(f"{output}: {write_shipped(output, agent_speakers())} speakers")
        return
    if clip is not None:
        _film_user(clip, voices_of, size, units, output)
    else:
        assert show is not None
        _film(show, voices_of, behaviour, "held-out" if held_out else "train", persona, size, units, output)
    click.echo(f"{output}")


def _check(seeds: range, units: int | None, bank: Bank, behaviour: Scenario) -> None:
    from ..lab.world.check import check_world

    report = check_world(seeds, units or UNITS, bank, behaviour)
    click.echo(report.text())
    if not report.is_fair:
        raise click.exceptions.Exit(1)


def _film_user(seed: int, bank: Bank, size: int, units: int | None, output: Path) -> None:
    from ..lab.world.clip import CLIP_UNITS, clip
    from ..lab.world.media import write_user

    write_user(clip(seed, bank, size, units or CLIP_UNITS), output)


def _film(
    seed: int, bank: Bank, behaviour: Scenario, split: Split, persona: str, size: int, units: int | None, output: Path
) -> None:
    from ..lab.world.dialogue import play
    from ..lab.world.media import write_both
    from ..lab.world.persona import persona as persona_named

    character = persona_named(persona)
    write_both(play(seed, units or UNITS, bank, behaviour, split=split, persona=character, size=size), output)
