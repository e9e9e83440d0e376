"""People whose words are tones, so that no synthesiser is needed, and agents that are simple enough to be foretold."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from wangraph import Input, Node, Output
from wangraph.tools.lab.world.signal import RATE, UNIT

WORDS = ("mm-hmm", "okay", "please", "red", "green", "blue", "yellow", "coffee")
ONLY_TONES = ("espeak-ng",)
"""Kept from training, so that those who say tones are all that is left of it."""


def tones(folder: Path) -> Path:
    """Recordings of somebody whose words are tones of 300 ms, a pitch each."""
    for i, word in enumerate([*map(str, range(10)), *WORDS]):
        tone = 0.5 * np.sin(2 * np.pi * (300 + 60 * i) * np.arange(int(0.3 * RATE)) / RATE)
        with wave.open(str(folder / f"{word}_tone_0.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((tone * 32767).astype(np.int16).tobytes())
    return folder


class Beeper(Node):
    """Beeps for four units when the user has stopped talking, and shows how loud the user is."""

    audio = Input("audio", "S", "float32", rate_hz=RATE)
    video = Input("video", "F H W 3", "uint8")
    text = Input("text", late="empty", optional=True)
    samples = Output("audio", "S", "float32", rate_hz=RATE)
    frames = Output("video", "F H W 3", "uint8")
    words = Output("text")
    raw = Output("latent", "N", "float32")

    def new_state(self):
        return {"was_loud": False, "left": 0}

    def step(self, state, unit, audio, video, text=None):
        loud = float(np.sqrt(np.mean(audio**2))) > 0.03
        begins = state["was_loud"] and not loud
        state["left"] = 4 if begins else max(0, state["left"] - 1)
        state["was_loud"] = loud
        tone = 0.2 * np.sin(2 * np.pi * 440 * np.arange(UNIT) / RATE).astype(np.float32)
        words = "one two" if begins else "—" if text == "\n" else None
        return {
            "samples": tone * np.float32(state["left"] > 0),
            "frames": 255 - video,
            "words": words,
            "raw": audio[:4].copy(),
        }

    def gap(self, state, units):
        return None


class Deep(Node):
    """A source of pictures with more to them than a user gives."""

    eyes = Output("video", "4 32 32 3", "uint8")
    ears = Output("audio", "S", "float32", rate_hz=RATE)
    depth = Output("latent", "4", "float32")

    def step(self, unit):
        return {}


class Slow(Node):
    """Speaks at another rate."""

    samples = Input("audio", "S", "float32", rate_hz=RATE)
    low = Output("audio", "1280", "float32", rate_hz=8000)

    def step(self, unit, samples):
        return {"low": samples[::2].copy()}


class Depth(Node):
    """Takes the depth and the sound."""

    samples = Input("audio", "S", "float32", rate_hz=RATE)
    depth = Input("latent", "4", "float32")
    voice = Output("audio", "S", "float32", rate_hz=RATE)

    def step(self, unit, samples, depth):
        return {"voice": samples}


class Echo(Node):
    """Says what it hears."""

    audio = Input("audio", "S", "float32", rate_hz=RATE)
    samples = Output("audio", "S", "float32", rate_hz=RATE)

    def step(self, unit, audio):
        return {"samples": audio}


class Babbler(Node):
    """Says what it hears, and writes what the world has no word for."""

    audio = Input("audio", "S", "float32", rate_hz=RATE)
    samples = Output("audio", "S", "float32", rate_hz=RATE)
    words = Output("text")

    def step(self, unit, audio):
        return {"samples": audio, "words": "one twelve"}
