"""Pictures of an evaluation: operating curves, sync, and frames over the waveform."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....runtime.errors import MediaError, MissingExtra
from ....runtime.output_file import claim
from ....wan_core.vocabulary import PAD
from ..world.signal import FRAME, FRAMES, RATE, UNIT, loudness
from ..world.tokens import VOCABULARY
from . import probes
from .rows import Setting, tools
from .talk import Talk, hold
from .tasks import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHEET_UNITS = 60
_COLOURS = {"reference": "#666666", "model": "#0063a6", "random": "#c26a00", "ablated vision": "#8a2be2"}
_DASHES = {"reference": (4, 2), "model": (), "random": (1, 1), "ablated vision": (3, 1, 1, 1)}


def draw(setting: Setting, rows: Mapping[str, Findings], folder: Path) -> list[Path]:
    """Write ``timing.png``, ``lips.png`` and, of a checkpoint, ``dialogue.png``.

    Raises:
        MissingExtra: matplotlib is not there.
        MediaError: the folder cannot be written to.
    """
    plt = pyplot()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [_timing(plt, rows, folder / "timing.png"), _lips(plt, rows, folder / "lips.png")]
        if not (setting.graph or setting.agent):
            written.append(dialogue(plt, one_dialogue(setting), folder / "dialogue.png"))
    except OSError as error:
        raise MediaError(f"{folder}: cannot be written ({error.strerror}), choose another --plots") from error
    return written


def pyplot() -> Any:
    """matplotlib, drawing into files.

    Raises:
        MissingExtra: it is not there.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtra("--plots: no matplotlib (needed to draw), pip install 'wangraph[train]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def ready(folder: Path) -> None:
    """Pass if pictures can be drawn into this folder: known before the dialogues are held, not after.

    Raises:
        MissingExtra: matplotlib is not there.
        MediaError: the folder cannot be written to.
    """
    pyplot()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise MediaError(f"{folder}: cannot be written ({error.strerror}), choose another --plots") from error


def _timing(plt: Any, rows: Mapping[str, Findings], path: Path) -> Path:
    """Delays of answers after a turn, and of giving way to an interruption."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.8))
    wanted = (("onset ms", "from the end of a turn to the answer"), ("stop ms", "from an interruption to silence"))
    for axis, (name, title) in zip(axes, wanted, strict=True):
        for row, found in rows.items():
            if found.values.get(name):
                _cumulate(axis, found.values[name], row)
        axis.set(title=title, xlabel="ms, index time", ylabel="share of all so far", ylim=(0, 1.02), xlim=(0, 1000))
        axis.grid(alpha=0.3)
        axis.legend()
    return _save(plt, figure, path)


def _cumulate(axis: Axes, values: Sequence[float], row: str) -> None:
    """Steps that end below 1 where something never happened."""
    happened = sorted(value for value in values if np.isfinite(value))
    heights = np.arange(1, len(happened) + 1) / len(values)
    (line,) = axis.step([0, *happened, 2000], [0, *heights, heights[-1] if happened else 0], where="post", label=row)
    line.set(color=_COLOURS.get(row, "black"), dashes=_DASHES.get(row, ()))


def _lips(plt: Any, rows: Mapping[str, Findings], path: Path) -> Path:
    """Delay of the sound behind the mouth, dialogue by dialogue."""
    figure, axis = plt.subplots(figsize=(6, 3.6))
    for row in reversed(list(rows)[:2]):  # the ideal agent, and who is judged in front of it
        values = rows[row].values.get("lip lag ms", [])
        if values:
            axis.hist(values, bins=np.arange(-120, 121, 10), alpha=0.6, label=row, color=_COLOURS.get(row, "black"),
                      hatch="//" if row == "reference" else None)  # fmt: skip
    axis.set(title="sound behind the mouth", xlabel="ms", ylabel="dialogues")
    axis.legend()
    return _save(plt, figure, path)


def one_dialogue(setting: Setting, units: int = SHEET_UNITS) -> Talk:
    """A free dialogue with all its pictures."""
    from .agents import ModelAgent, Weights

    made = tools(setting)
    (spec,) = probes.free(made.voices.synthetic, 1).specs
    agent = ModelAgent(Weights.load(setting.checkpoint), setting.solver, setting.seed)
    (talk,) = hold(agent, [spec], units, made.voices.bank, made.read, made.size, keep_frames=1)
    return talk


def dialogue(plt: Any, talk: Talk, path: Path, per_line: int = 20) -> Path:
    """Frames of both over their waveforms and the agent's words, ``per_line`` units a line."""
    assert talk.frames is not None and talk.seen is not None, "a dialogue whose pictures were not kept"
    lines = -(-len(talk) // per_line)
    figure, axes = plt.subplots(3 * lines, 1, figsize=(15, 3.1 * lines), height_ratios=[1, 1, 0.9] * lines)
    for line in range(lines):
        span = slice(line * per_line, min((line + 1) * per_line, len(talk)))
        for axis, frames, who in zip(axes[3 * line :], (talk.seen, talk.frames), ("user", "agent"), strict=False):
            axis.imshow(np.concatenate(list(frames[span, 1]), axis=1), aspect="auto", interpolation="nearest")
            axis.set(xticks=[], yticks=[], ylabel=who)
        _waves(axes[3 * line + 2], talk, span)
    return _save(plt, figure, path)


def _waves(axis: Axes, talk: Talk, span: slice) -> None:
    start, end = span.start * UNIT, span.stop * UNIT
    times = (np.arange((span.stop - span.start) * FRAMES) * FRAME + start) / RATE
    for sound, sign, colour in ((talk.user_samples, 1, "#c26a00"), (talk.samples, -1, "#0063a6")):
        axis.fill_between(times, sign * loudness(sound[start:end], FRAME), color=colour, step="post")
    for unit in range(span.start, span.stop):
        token = int(talk.text[unit])
        word = VOCABULARY.word_of(token) if token != PAD else ""
        state = "" if talk.events is None else VOCABULARY.states[int(talk.events[unit, 0])][0]
        axis.text((unit + 0.5) * UNIT / RATE, 0.22, f"{state} {word}", ha="center", va="top", fontsize=7)
    axis.set(xlim=(start / RATE, start / RATE + 20 * UNIT / RATE), ylim=(-0.25, 0.25), yticks=[])
    axis.tick_params(labelsize=7)


def _save(plt: Any, figure: Any, path: Path) -> Path:
    figure.tight_layout()
    claim(path)
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return path
