"""A media file as a visitor's camera and microphone: pieces of 40 ms, each a JPEG and four parts of sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...nodes.media.pictures import PictureReader
from ...nodes.media.probe import probe
from ...nodes.media.sound import SoundReader
from ..serve.codecs import JpegEncoder
from ..serve.socket import RATE_HZ

PIECE_MS = 40
"""A picture at 25 a second."""

PART_MS = 10
"""Of sound that is sent at once: what waits until a part is whole is delay. A page sends 8 ms."""

PARTS = PIECE_MS // PART_MS
PART_SAMPLES = RATE_HZ * PART_MS // 1000

LONGEST_S = 600
"""A clip is kept in memory, as visitors share it and it may begin again; of a longer one the beginning is used."""


class Piece(NamedTuple):
    """40 ms of a clip: a JPEG or None, and `PARTS` of sound, 16 bit little-endian, or none."""

    picture: bytes | None
    sound: tuple[bytes, ...]


class Clip:
    """A file that is read as far as it is wanted, and then begins again.

    Args:
        path: of the file.
        size: ``(width, height)`` of the pictures; None: none are wanted.
        wants_sound: whether its sound is.

    Raises:
        MediaError: it is no media file.
    """

    def __init__(self, path: Path, size: tuple[int, int] | None, wants_sound: bool) -> None:
        info = probe(path)
        self.has_picture = info.has_video and size is not None
        self.has_sound = info.has_audio and wants_sound
        self.is_whole = False
        self._pieces: list[Piece] = []
        self._encoder = JpegEncoder()
        self._pictures = self._sound = None
        if self.has_picture and size is not None:
            self._pictures = PictureReader(path, info, Fraction(1000, PIECE_MS), size, "crop", Fraction(0))
            self._image = np.zeros((size[1], size[0], 3), np.uint8)
        if self.has_sound:
            self._sound = SoundReader(path, info, RATE_HZ, Fraction(0))

    @property
    def read_s(self) -> float:
        """Seconds read so far; the clip's length once it `is_whole`."""
        return len(self._pieces) * PIECE_MS / 1000

    def piece(self, number: int) -> Piece:
        """The piece that is sent ``number * 40`` ms after the beginning."""
        while not self.is_whole and len(self._pieces) <= number:
            self._read()
        return self._pieces[number % len(self._pieces)] if self._pieces else Piece(None, ())

    def close(self) -> None:
        """Close the file; what was read can be had on."""
        self.is_whole = True
        for reader in (self._pictures, self._sound):
            if reader is not None:
                reader.close()

    def _read(self) -> None:
        number = len(self._pieces)
        has_more = (self._pictures is not None and self._pictures.has_more(number)) or (
            self._sound is not None and self._sound.has_more(number * PARTS * PART_SAMPLES)
        )
        if not has_more or number * PIECE_MS >= LONGEST_S * 1000:
            self.close()
            return
        picture: bytes | None = None
        parts: tuple[bytes, ...] = ()
        if self._pictures is not None:
            self._pictures.read(number, self._image)
            picture = self._encoder.encode(self._image.copy())
        if self._sound is not None:
            samples = np.zeros(PARTS * PART_SAMPLES, np.float32)
            self._sound.read(number * len(samples), samples)
            whole = np.rint(samples * 32767).astype("<i2")
            parts = tuple(part.tobytes() for part in np.split(whole, PARTS))
        self._pieces.append(Piece(picture, parts))
