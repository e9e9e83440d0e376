"""``wangraph devices``: cameras, microphones and speakers of this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..shared.tables import console, table

if TYPE_CHECKING:
    from ...nodes.devices.portaudio import SoundDevice
    from ...nodes.devices.v4l2 import Listed, Mode


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines: every size, format and rate.")
def command(as_json: bool) -> None:
    """Cameras, microphones and speakers of this machine, by the names that graphs call them.

    \b
    wangraph devices
    wangraph devices --json
    wangraph run live --set camera=/dev/video2 --set microphone=headset
    """
    found = examine()
    click.echo(json.dumps(found, indent=1)) if as_json else _print(found)


def examine() -> dict[str, Any]:
    """Devices of this machine, as plain data; ``lacking`` says why sound devices are not known."""
    from ...nodes.devices.portaudio import sound_devices
    from ...nodes.devices.upkeep import DeviceAbsent
    from ...nodes.devices.v4l2 import cameras

    found: dict[str, Any] = {"cameras": [_camera(camera) for camera in cameras()], "microphones": [], "speakers": []}
    try:
        found["microphones"] = [_sound(device) for device in sound_devices("input")]
        found["speakers"] = [_sound(device) for device in sound_devices("output")]
    except DeviceAbsent as absent:
        found["lacking"] = str(absent)
    return found


def _camera(camera: Listed) -> dict[str, Any]:
    modes = [{**asdict(mode), "fps": round(float(mode.fps), 3)} for mode in camera.modes]
    return {"device": camera.path, "name": camera.name, "gives": _largest(camera), "modes": modes}


def _largest(camera: Listed) -> str:
    """The largest picture of each format, at its fastest."""
    best: dict[str, Mode] = {}
    for mode in camera.modes:
        other = best.setdefault(mode.format, mode)
        if (mode.width * mode.height, mode.fps) > (other.width * other.height, other.fps):
            best[mode.format] = mode
    return ", ".join(f"{m.format} {m.width}x{m.height} at {float(m.fps):.4g} fps" for m in best.values())


def _sound(device: SoundDevice) -> dict[str, Any]:
    default = ", used where none is named" if device.is_default else ""
    channels = "mono" if device.channels == 1 else f"up to {device.channels} channels"
    gives = f"{device.rate_hz} Hz, {channels}{default}"
    return {"device": str(device.index), "name": device.name, "gives": gives, **_plain(device)}


def _plain(device: SoundDevice) -> dict[str, Any]:
    return {"rate_hz": device.rate_hz, "channels": device.channels, "is_default": device.is_default}


def _print(found: dict[str, Any]) -> None:
    from rich.markup import escape

    rows = table("", "device", "name", "gives")
    for kind in ("cameras", "microphones", "speakers"):
        entries = found[kind]
        for number, entry in enumerate(entries):
            rows.add_row("" if number else kind, entry["device"], escape(entry["name"]), escape(entry["gives"]))
        if not entries:
            rows.add_row(kind, "", "none found" if kind == "cameras" or "lacking" not in found else "not known", "")
    console().print(rows)
    if "lacking" in found:
        click.echo(found["lacking"])
