"""A PulseAudio of its own: one room, in which the microphone picks up what the speakers play. No hardware."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import programs

SCRIPT = """
load-module module-native-protocol-unix socket={folder}/native auth-anonymous=1
load-module module-null-sink sink_name=room rate=48000
load-module module-null-sink sink_name=quiet rate=48000
load-module module-remap-source master=room.monitor source_name=microphone
set-default-sink room
set-default-source microphone
"""


@contextmanager
def a_room(folder: Path) -> Iterator[dict[str, str]]:
    """The environment by which programs find it; it is gone at the end."""
    script = folder / "room.pa"
    script.write_text(SCRIPT.format(folder=folder))
    env = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "PULSE_SERVER": f"unix:{folder}/native"}
    command = [programs.find("pulseaudio"), "-n", "-F", str(script), "--exit-idle-time=-1", "--daemonize=no",
               "--use-pid-file=no", "--log-target=file:" + str(folder / "log")]  # fmt: skip
    with subprocess.Popen(command, env=env | {"PATH": "/usr/bin:/bin"}) as server:
        try:
            _wait_for(folder / "native", server)
            # A null sink that nobody uses makes two seconds of silence ahead; one that somebody needs quickly does not.
            keep = ["pacat", "--playback", "--device=room", "--latency-msec=20", "/dev/zero"]
            with subprocess.Popen(keep, env=env | {"PATH": "/usr/bin:/bin"}, stderr=subprocess.DEVNULL) as awake:
                yield {name: value for name, value in env.items() if name.startswith("PULSE")}
                awake.terminate()
        finally:
            server.terminate()


def _wait_for(path: Path, server: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 20
    while not path.exists():
        assert server.poll() is None and time.monotonic() < give_up, "PulseAudio does not start"
        time.sleep(0.02)
