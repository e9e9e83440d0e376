"""Small nodes for tests of the plan: loaded by path, as a user's own file is."""

from __future__ import annotations

from pathlib import Path

from wangraph.runtime.errors import MediaError
from wangraph.runtime.node import Node, Param
from wangraph.runtime.ports import Input, Output


class Camera(Node):
    """A picture and a tone per unit."""

    video = Output("video", "F H W 3", "uint8")
    audio = Output("audio", "S 1", "float32", rate_hz=16_000)
    width: int = Param(32, min=2, max=4096, help="pixels")
    path: str = Param("", path="input", help="a file to read")

    @classmethod
    def ports(cls, params):
        width = params["width"]
        return {}, {**cls.outputs, "video": Output("video", f"F 24 {width} 3", "uint8")}

    @classmethod
    def check(cls, params):
        if params["path"] and not Path(params["path"]).is_file():
            raise MediaError(f"{params['path']}: no such file (expected a media file), check the path")


class Blur(Node):
    """Any picture, blurred."""

    frames = Input("video", "F H W 3", "uint8")
    blurred = Output("video", "F H W 3", "uint8")
    radius_px: int = Param(2, min=0, max=64, help="half the box")
    mode: str = Param("box", choices=["box", "round"])


class Square(Node):
    """Takes pictures of 64 x 64 only."""

    frames = Input("video", "F 64 64 3", "uint8")
    latents = Output("latent", "16 8", "float32")


class Think(Node):
    """Feedback in, a log out; keeps state."""

    frames = Input("video", "F H W 3", "uint8")
    response = Input("latent", "N 8", "float32", optional=True)
    context = Output("context", tensors={"keys": ("N<=13 8", "float32")})
    text = Output("text")

    def new_state(self):
        return []

    def gap(self, state, units):
        return None


class Answer(Node):
    """A log in, latents out."""

    context = Input("context", tensors={"keys": ("N<=13 8", "float32")})
    latents = Output("latent", "4 8", "float32")
    steps: int = Param(2, min=1, help="of the solver")


class Ahead(Node):
    """Looks two units ahead."""

    frames = Input("video", "F H W 3", "uint8", look_ahead=2)
    blurred = Output("video", "F H W 3", "uint8")


class Playout(Node):
    """Fires at the deadline."""

    paced = True
    video = Input("any", late="hold")
    audio = Input("audio", "S 1", "float32", rate_hz=16_000, optional=True)
    shown = Output("any")
    played = Output("tokens", "1", "int64")


class Sink(Node):
    """Takes anything."""

    data = Input("any")
    path: str = Param("out.bin", path="output")


class Forgetful(Node):
    """Keeps state and does not say what a lost unit does to it."""

    data = Input("any")

    def new_state(self):
        return []


class Patient(Node):
    """Would wait for ever."""

    data = Input("any", late="wait")
    out = Output("any")


NOT_A_NODE = 3
