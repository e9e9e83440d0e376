"""Words that are shipped with the package: the agents' voices, and users who are held out of training.

So an evaluation needs no synthesiser, and measures the same voices everywhere. One zip file of FLAC, ``SPEAKER/WORD``.
"""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ....runtime.errors import MediaError
from .signal import RATE, Sound

BANK = Path(__file__).with_name("voices.zip")
"""The shipped file."""


def takes_of(key: str) -> dict[str, tuple[Sound, ...]] | None:
    """All words of the speaker with this key; None where the speaker is not shipped.

    Raises:
        MediaError: the file is damaged.
    """
    names = _index().get(key)
    if names is None:
        return None
    try:
        with zipfile.ZipFile(BANK) as bank:
            return {word: (_decoded(bank.read(f"{key}/{word}.flac")),) for word in names}
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise MediaError(f"{BANK}: damaged ({error}), install wangraph again") from error


def write(path: Path, speakers: Mapping[str, Mapping[str, Sound]]) -> None:
    """Write a bank of these words, by speaker's key and word.

    Raises:
        MediaError: it cannot be written.
    """
    unfinished = path.with_suffix(".part")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as bank:
            for key, words in sorted(speakers.items()):
                for word, sound in sorted(words.items()):
                    # a fixed date, so that the same voices give the same file
                    bank.writestr(
                        zipfile.ZipInfo(f"{key}/{word}.flac", (1980, 1, 1, 0, 0, 0)),
                        _encoded(sound),
                        zipfile.ZIP_DEFLATED,
                    )
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise MediaError(f"{path}: cannot be written ({error.strerror}), choose another -o") from error


@functools.cache
def _index() -> dict[str, tuple[str, ...]]:
    if not BANK.exists():
        return {}
    found: dict[str, tuple[str, ...]] = {}
    try:
        with zipfile.ZipFile(BANK) as bank:
            for name in bank.namelist():
                key, _, word = name.removesuffix(".flac").partition("/")
                found[key] = (*found.get(key, ()), word)
    except (OSError, zipfile.BadZipFile) as error:
        raise MediaError(f"{BANK}: damaged ({error}), install wangraph again") from error
    return found


def _encoded(sound: Sound) -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        samples = np.rint(np.clip(sound, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return buffer.getvalue()


def _decoded(data: bytes) -> Sound:
    import av

    with av.open(io.BytesIO(data)) as container:
        parts = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    samples: Sound = np.concatenate(parts).astype(np.float32) / np.float32(32767)
    return samples
