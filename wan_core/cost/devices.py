"""Devices that hold a preset in real time: bounds from operations and bytes. Imports no torch.

A bound is not a measurement: it leaves out starting kernels, transfers and everything small, and a real run is slower.
What it shows to be impossible is impossible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .model_cost import BF16_BYTES, FP32_BYTES, ModelCost

COMPUTE_SHARE, BANDWIDTH_SHARE = 0.4, 0.6
"""Of the peak figures, what code that is written with care gets."""


@dataclass(frozen=True)
class Device:
    """A kind of device by its makers' peak figures.

    Attributes:
        tflops: dense, in the precision of ``number_bytes``.
        bandwidth_gb_s: of its own memory.
        memory_gb: 1 GB is 10^9 bytes.
        number_bytes: per weight and per cached number.
    """

    name: str
    tflops: float
    bandwidth_gb_s: float
    memory_gb: float
    number_bytes: int


DEVICES = (
    Device("2 CPU cores, AVX2, 3 GHz", 0.19, 20, 16, FP32_BYTES),
    Device("16 CPU cores, AVX-512", 3.0, 200, 64, FP32_BYTES),
    Device("RTX 4090", 165, 1008, 24, BF16_BYTES),
    Device("A100 80 GB", 312, 2039, 80, BF16_BYTES),
    Device("H100 SXM", 989, 3350, 80, BF16_BYTES),
    Device("H200", 989, 4800, 141, BF16_BYTES),
)


@dataclass(frozen=True)
class Work:
    """Work of one part of the system in one unit."""

    flops: int
    bytes_read: int

    def ms_on(self, device: Device) -> float:
        """The bound of whichever takes longer."""
        compute = self.flops / (device.tflops * 1e12 * COMPUTE_SHARE)
        return 1000 * max(compute, self.bytes_read / (device.bandwidth_gb_s * 1e9 * BANDWIDTH_SHARE))


@dataclass(frozen=True)
class Load:
    """One preset after some minutes, with some solver steps, in numbers of some size.

    Attributes:
        think: the thinker's backbone, embedders and heads.
        solve: all solver steps.
        codecs: video and audio, there and back.
        thinker_bytes: held by the thinker: model, codecs, cache.
        performer_bytes: held by the performer: model, cache.
    """

    think: Work
    solve: Work
    codecs: Work
    thinker_bytes: int
    performer_bytes: int


def load(cost: ModelCost, minutes: float, steps: int, number_bytes: int) -> Load:
    """The work of one unit after this time; every pass reads the backbone's weights and the whole cache once."""
    units, parameters = cost.units_in(minutes), cost.parameters
    cache = units * cost.kv_bytes_per_unit(number_bytes)
    codecs = (parameters["video codec"] + parameters["audio codec"]) * number_bytes
    one_pass = cost.backbone_weights * number_bytes + cache
    model = cost.model_parameters * number_bytes
    return Load(
        Work(cost.think_flops(units), cost.passes * one_pass + cost.reading_weights * number_bytes),
        Work(steps * cost.step_flops(units), steps * one_pass),
        Work(sum(cost.codec_flops.values()), codecs),
        model + codecs + cache,
        model + cache,
    )


@dataclass(frozen=True)
class Fit:
    """Fit of a preset to a device.

    Attributes:
        ms: of think, solve and codecs.
        memory_gb: for both halves on one device.
        verdict: ``one``, ``two`` (a device for each half) or ``no``.
        reason: why not one.
    """

    device: Device
    ms: dict[str, float]
    memory_gb: float
    verdict: str
    reason: str


def fits(cost: ModelCost, minutes: float, steps: int, devices: Sequence[Device] = DEVICES) -> list[Fit]:
    """Each device against one unit's time.

    Thinking and solving are a loop: each waits for the other, on however many devices, so that together they have one
    unit. The codecs are not on the loop, but share a device with the thinker.
    """
    return [_fit(cost, minutes, steps, device) for device in devices]


def _fit(cost: ModelCost, minutes: float, steps: int, device: Device) -> Fit:
    work = load(cost, minutes, steps, device.number_bytes)
    ms = {name: getattr(work, name).ms_on(device) for name in ("think", "solve", "codecs")}
    unit_ms = 1000 * cost.preset.unit_seconds
    both = (work.thinker_bytes + work.performer_bytes) / 1e9
    loop = ms["think"] + ms["solve"]
    if loop <= unit_ms and loop + ms["codecs"] > unit_ms:
        reason = f"{loop + ms['codecs']:.0f} ms of work in {unit_ms:.0f} ms"
    elif loop > unit_ms:
        reason = f"the loop takes {loop:.0f} of {unit_ms:.0f} ms"
    else:
        reason = f"{both:.1f} GB needed, {device.memory_gb:g} there" if both > device.memory_gb else ""
    split = max(ms["think"] + ms["codecs"], loop) <= unit_ms and work.thinker_bytes <= device.memory_gb * 1e9
    return Fit(device, ms, both, "one" if not reason else "two" if split else "no", reason)
