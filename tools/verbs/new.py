"""``wangraph new``: a commented graph or node to start from."""

from __future__ import annotations

import re
from pathlib import Path

import click

from ...runtime.errors import UserError

GRAPH = """\
# {name}: a test picture and tone, played out on the clock into a file.
#   pattern -> sync -> file
# wangraph check {file}
# wangraph run {file} --set seconds=4
name: {name}
version: 1
# a unit is unit_frames pictures at fps: 4 at 25 = 160 ms
clock: {{fps: 25, unit_frames: 4}}
# from the end of a unit to the moment its answer begins to play
latency_ms: 80
# set them with --set output=other.mp4
params: {{output: {name}.mp4, seconds: 8}}
nodes:
  # where the data comes from; others: wangraph nodes
  pattern: {{type: capture.pattern, params: {{seconds: $seconds}}}}
  # your own node goes here: wangraph new node blur, then
  # blur: {{type: blur.py:Blur, inputs: {{frames: pattern.video}}}}
  # plays each unit as a whole, at its deadline; in a lane of its own, where no other node holds it up
  sync: {{type: sync.playout, lane: play, inputs: {{video: pattern.video, audio: pattern.audio}}}}
  # H.264 and AAC, in a thread of its own
  file: {{type: sink.mp4, lane: io, params: {{path: $output}}, inputs: {{video: sync.video, audio: sync.audio}}}}
processes:
  main: {{lanes: [loop, play, io]}}
"""

NODE = '''\
"""{title}: a node for wangraph graphs.

Use it in a graph file beside this one:

    {name}: {{type: {file}:{title}, params: {{gain: 0.5}}, inputs: {{frames: NODE.video}}}}
"""

import numpy as np

from wangraph import Input, Node, Output, Param


class {title}(Node):
    """Pictures, made brighter or darker."""

    # kind, shape per unit (F frames, H rows, W columns), dtype; the same letter is the same size
    frames = Input("video", "F H W 3", "uint8")
    video = Output("video", "F H W 3", "uint8")
    # checked before the graph runs; set with params: {{gain: 0.5}}
    gain: float = Param(1.0, min=0, max=8, help="1 leaves the picture as it is")

    def step(self, unit, frames):
        """One unit in, its outputs by port out. ``frames`` is read-only: make a new array."""
        return {{"video": np.clip(frames * self.gain, 0, 255).astype(np.uint8)}}
'''

STATEFUL = '''\
"""{title}: a node for wangraph graphs that keeps something between units.

Use it in a graph file beside this one:

    {name}: {{type: {file}:{title}, params: {{keep: 0.5}}, inputs: {{frames: NODE.video}}}}
"""

import numpy as np

from wangraph import Input, Node, Output, Param


class {title}(Node):
    """Pictures with an afterglow of those before."""

    # kind, shape per unit (F frames, H rows, W columns), dtype; the same letter is the same size
    frames = Input("video", "F H W 3", "uint8")
    video = Output("video", "F H W 3", "uint8")
    # checked before the graph runs; set with params: {{keep: 0.5}}
    keep: float = Param(0.8, min=0, max=1, help="what a picture leaves to the next one")

    def new_state(self):
        """What is kept between units; the methods below get it first, and change it."""
        return {{"glow": None}}

    def step(self, state, unit, frames):
        """One unit in, its outputs by port out. Called once for every unit, in order, unless it is lost."""
        if frames is None:  # the node above had nothing to give
            return {{}}  # nor has this one; a None instead would be a forgotten return
        video = np.empty_like(frames)
        for n, frame in enumerate(frames):
            left = 0 if state["glow"] is None else (state["glow"] * self.keep).astype(np.uint8)
            state["glow"] = video[n] = np.maximum(frame, left)
        return {{"video": video}}

    def gap(self, state, units):
        """These units are lost: what becomes of the state. No video is asked for, so nothing is returned; a node with
        a log (an output of kind "context") returns a list with a mapping per unit."""
        state["glow"] = None

    # When the node is late, absorb(state, units) takes several units at once; it returns what gap returns.
    # Node.absorb calls step on each of them: write your own where that can be done faster.
'''


@click.command()
@click.argument("kind", type=click.Choice(["graph", "node"]))
@click.argument("name")
@click.option("--stateful", is_flag=True, help="A node that keeps something between units.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it there.")
def command(kind: str, name: str, stateful: bool, output: Path | None) -> None:
    """Write a commented graph (NAME.yaml) or node (NAME.py) that works as it is. Overwrites nothing.

    \b
    wangraph new graph mine && wangraph run mine.yaml
    wangraph new node blur
    wangraph new node afterglow --stateful     with a state, and what happens to it when a unit is lost
    """
    if stateful and kind != "node":
        raise UserError(f"--stateful: found it with '{kind}' (expected 'node'), leave it out")
    if not re.match(r"[A-Za-z]\w*\Z", name):
        raise UserError(f"name: found '{name}' (expected letters, digits and _, a letter first), choose another")
    path = output if output is not None else Path(f"{name}.yaml" if kind == "graph" else f"{name}.py")
    title = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    text = (GRAPH if kind == "graph" else STATEFUL if stateful else NODE).format(name=name, file=path, title=title)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError(f"{path}: found a file (expected none), choose another name, or -o FILE") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror} (expected a place to write to), choose another -o") from error
    use = f"wangraph run {path}" if kind == "graph" else f"type: {path}:{title}"
    click.echo(f"wrote {path}; use it with: {use}")
