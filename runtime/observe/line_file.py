"""Files of lines: plain ones, and compressed ones, whose names end in ``.gz``. What was written can be read at any
moment, also when its writer was killed or its disk was full.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import UserError
from ..output_file import open_private

SUFFIX = ".gz"
LONGEST = 1 << 26
"""Bytes of a line, a whole plan being one: a damaged or hostile file of a few bytes could hold a line of gigabytes."""
_CHUNK = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 6


class LineWriter:
    """Writes a file for its user alone; every `write` reaches the operating system.

    Raises:
        OSError: it cannot be written, in `write` and `close`, too.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = open_private(path)
        self._packer = gzip.GzipFile("", "wb", _LEVEL, self._file, 0) if path.suffix == SUFFIX else None

    def write(self, lines: bytes) -> None:
        """Append whole lines."""
        if self._packer is None:
            self._file.write(lines)
        else:
            self._packer.write(lines)
            self._packer.flush()  # to a boundary: what a killed run leaves can be unpacked up to here
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        try:
            if self._packer is not None:
                self._packer.close()
        finally:
            self._file.close()


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines, each with its end; the last one has none where the file was cut in it.

    Raises:
        UserError: it cannot be read or unpacked, or a line is too long.
    """
    left = b""
    for chunk in _chunks(path):
        first, *others = (left + chunk).split(b"\n") if b"\n" in chunk else (left + chunk,)
        for line in others:
            yield first + b"\n"
            first = line
        left = first
        if len(left) > LONGEST:
            raise UserError(f"{path}: found a line of over {LONGEST >> 20} MB (expected a trace), record it again")
    if left:
        yield left


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            if path.suffix == SUFFIX:
                yield from _unpacked(file)
            else:
                while chunk := file.read(_CHUNK):
                    yield chunk
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror} (expected a trace), make one with: wangraph run GRAPH --trace FILE"
        ) from error
    except zlib.error as error:
        raise UserError(f"{path}: cannot be unpacked ({error}): the file is damaged, record it again") from error


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """Pieces of what a compressed file holds, as far as it goes; none is longer than a chunk."""
    unpacker = zlib.decompressobj(_GZIP)
    while packed := file.read(_CHUNK):
        while packed and not unpacker.eof:
            yield unpacker.decompress(packed, _CHUNK)
            packed = unpacker.unconsumed_tail
