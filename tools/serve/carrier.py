"""Interface of what carries media to a visitor and back: WebRTC, or the plain socket."""

from __future__ import annotations

from typing import Literal, Protocol

import av
import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import UserError

Pictures = NDArray[np.uint8]
"""One picture ``[H, W, 3]``, RGB."""

Samples = NDArray[np.int16]
"""Sound ``[n]``, mono."""

PACE_MS = 20
"""The pacer calls `Carrier.put_audio` so often, and `put_video` every second time at 25 fps."""


class OfferRefused(UserError):
    """A visitor's WebRTC offer cannot be answered; media can take the socket."""


class Received(Protocol):
    """Takes what a carrier receives. Called in the event loop's thread; must return at once."""

    def video(self, picture: av.VideoFrame, at_ns: int) -> None:
        """A picture of any size and format, and when it came (`time.monotonic_ns`)."""
        ...

    def audio(self, samples: Samples, rate_hz: int, at_ns: int) -> None:
        """Mono sound of any rate and length (as `PACE_MS` suggests), and when its last sample came."""
        ...

    def state(self, name: Literal["connecting", "connected", "disconnected", "failed", "closed"]) -> None:
        """The carrier's connection has changed."""
        ...


class Carrier(Protocol):
    """Carries media between the server and one visitor. All in one event loop; no call of it waits but `close`.

    Attributes:
        name: ``webrtc`` or ``socket``.
        dropped: pictures and parts of sound that were not sent, or not handed on, by where and why.
    """

    name: Literal["webrtc", "socket"]
    dropped: dict[str, int]

    def put_video(self, picture: Pictures, unit: int, part: int) -> None:
        """Show this picture now. It is left out when the way to the visitor is full."""
        ...

    def put_audio(self, samples: Samples, rate_hz: int, unit: int, part: int) -> None:
        """Play 20 ms of sound after what was put before. Silence is put, too: a hole would be made up for later."""
        ...

    def flush(self) -> None:
        """An interruption: what was put and is not on its way yet is dropped."""
        ...

    async def close(self) -> None:
        """Give everything back; later calls do nothing."""
        ...
