"""``wangraph model``: what a preset costs, and what holds it in real time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ...runtime.errors import UserError
from ..shared.options import FiniteRange
from ..shared.tables import console, table

if TYPE_CHECKING:
    from rich.console import Console

    from ...wan_core.config import Preset
    from ...wan_core.cost.model_cost import ModelCost

GIGA = 1e9
_PREFIXES = ("", "K", "M", "G", "T", "P")


@click.command()
@click.argument("preset", required=False)
@click.option("--minutes", type=FiniteRange(0, 1e9), default=5.0, show_default=True, help="Of conversation so far.")
@click.option("--steps", type=click.IntRange(min=1), default=2, show_default=True, help="Solver steps per unit.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(preset: str | None, minutes: float, steps: int, as_json: bool) -> None:
    """The card of PRESET: parameters, memory, operations, and devices that hold it; without PRESET, all in a line each.

    \b
    wangraph model
    wangraph model paper-7b --minutes 1
    wangraph model tiny --json
    """
    from ...wan_core.config import PRESETS
    from ...wan_core.config import preset as find_preset
    from ...wan_core.errors import ModelError

    try:
        names = [preset] if preset else list(PRESETS)
        reports = [describe(find_preset(name), minutes, steps) for name in names]
    except ModelError as error:
        raise UserError(str(error)) from error
    if as_json:
        click.echo(json.dumps(reports[0] if preset else reports, indent=1))
    elif preset:
        _print(console(), reports[0])
    else:
        _print_all(console(), reports)


def describe(preset: Preset, minutes: float, steps: int) -> dict[str, Any]:
    """The card as JSON holds it; bytes and operations are whole numbers, times milliseconds."""
    from ...wan_core.cost.devices import BANDWIDTH_SHARE, COMPUTE_SHARE, fits, load
    from ...wan_core.cost.model_cost import BF16_BYTES, FP32_BYTES, ModelCost

    cost = ModelCost(preset)
    units = cost.units_in(minutes)
    sizes = {"fp32": FP32_BYTES, "bf16": BF16_BYTES}
    loads = {name: load(cost, minutes, steps, size) for name, size in sizes.items()}
    seconds = preset.unit_seconds
    return {
        "preset": preset.name,
        "shape": _shape(cost),
        "parameters": {**cost.parameters, "total": sum(cost.parameters.values())},
        "tokens_per_unit": {"clean": preset.slots.clean, "noisy": preset.slots.noisy},
        "cache": {
            "bytes_per_unit": {name: cost.kv_bytes_per_unit(size) for name, size in sizes.items()},
            "units_to_cap": cost.cap_units,
            "minutes_to_cap": cost.cap_minutes,
            "at_cap": cost.at_cap,
            "mask_bytes": {name: cost.mask_bytes(size) for name, size in sizes.items()},
        },
        "at": {"minutes": minutes, "units": units, "steps": steps},
        "flops": {
            "think": cost.think_flops(units),
            "solver_step": cost.step_flops(units),
            **{f"codec_{name}": flops for name, flops in cost.codec_flops.items()},
        },
        "memory_bytes": {
            name: {"thinker": x.thinker_bytes, "performer": x.performer_bytes} for name, x in loads.items()
        },
        "needed": {
            name: {
                "tflop_s": (x.think.flops + x.solve.flops + x.codecs.flops) / seconds / 1e12,
                "gb_s": (x.think.bytes_read + x.solve.bytes_read + x.codecs.bytes_read) / seconds / GIGA,
            }
            for name, x in loads.items()
        },
        "devices": [
            {
                "device": fit.device.name,
                "peak_tflops": fit.device.tflops,
                "peak_gb_s": fit.device.bandwidth_gb_s,
                "memory_gb": fit.device.memory_gb,
                "dtype": "fp32" if fit.device.number_bytes == FP32_BYTES else "bf16",
                "ms": {name: round(ms, 3) for name, ms in fit.ms.items()},
                "devices_needed": {"one": 1, "two": 2, "no": None}[fit.verdict],
                "reason": fit.reason,
            }
            for fit in fits(cost, minutes, steps)
        ],
        "assumptions": {
            "compute_share_of_peak": COMPUTE_SHARE,
            "bandwidth_share_of_peak": BANDWIDTH_SHARE,
            "unit_ms": 1000 * seconds,
        },
    }


def _shape(cost: ModelCost) -> str:
    b, video, audio = cost.preset.backbone, cost.preset.video, cost.preset.audio
    return (
        f"width {b.width}, {b.layers} layers, {b.heads} heads on {b.kv_heads}; "
        f"video {video.width}x{video.height} -> {'x'.join(map(str, video.latent_shape))}; "
        f"audio {audio.rate_hz} Hz -> {'x'.join(map(str, audio.latent_shape))}"
    )


def _print(out: Console, report: dict[str, Any]) -> None:
    at, cache = report["at"], report["cache"]
    out.print(f"[bold]{report['preset']}[/]: {report['shape']}")
    rows = table("\nparameters", "\n", right=("\n",))
    for part, count in report["parameters"].items():
        rows.add_row(part, f"{count:,}")
    out.print(rows)
    tokens, per_unit = report["tokens_per_unit"], cache["bytes_per_unit"]
    out.print(f"\nunit: {tokens['clean']} tokens stay, {tokens['noisy']} are denoised")
    out.print(
        f"cache: {per_unit['fp32']:,} bytes per unit in fp32, {per_unit['bf16']:,} in bf16; "
        f"grows for {_duration(cache['minutes_to_cap'])}, then {cache['at_cap']}"
    )
    masks = cache["mask_bytes"]
    out.print(f"masks: up to {masks['fp32']:,} bytes in fp32, {masks['bf16']:,} in bf16, shared by all sessions")
    out.print(f"\nafter {at['minutes']:g} minutes ({at['units']:,} units in the cache), {at['steps']} solver step(s):")
    rows = table("  operations per unit", "", right=("",))
    for name, flops in report["flops"].items():
        rows.add_row(f"  {name.replace('_', ' ')}", _flops(flops))
    out.print(rows)
    rows = table("  memory", "thinker", "performer", right=("thinker", "performer"))
    for name, halves in report["memory_bytes"].items():
        rows.add_row(f"  {name}", *(f"{size / GIGA:,.2f} GB" for size in halves.values()))
    out.print(rows)
    _print_devices(out, report)


def _print_devices(out: Console, report: dict[str, Any]) -> None:
    given = report["assumptions"]
    numbers = ("TFLOP/s", "GB/s", "GB", "think ms", "solve ms", "codecs ms")
    rows = table("\ndevice", "\n", *(f"\n{name}" for name in numbers), f"\nholds {given['unit_ms']:g} ms",
                 right=tuple(f"\n{name}" for name in numbers))  # fmt: skip
    for fit in report["devices"]:
        peaks = (fit["peak_tflops"], fit["peak_gb_s"], fit["memory_gb"])
        verdict = {1: "one", 2: "two, one for each half", None: "no"}[fit["devices_needed"]]
        rows.add_row(
            fit["device"],
            fit["dtype"],
            *(f"{x:g}" for x in peaks),
            *(f"{ms:,.1f}" for ms in fit["ms"].values()),
            f"{verdict} ({fit['reason']})" if fit["reason"] else verdict,
        )
    out.print(rows)
    needed = report["needed"]["bf16"]
    out.print(f"\nneeded in bf16: {needed['tflop_s']:,.2f} TFLOP/s and {needed['gb_s']:,.1f} GB/s, sustained")
    out.print(
        f"bounds, not measurements: {given['compute_share_of_peak']:.0%} of the peak operations and "
        f"{given['bandwidth_share_of_peak']:.0%} of the peak bandwidth, whichever takes longer; "
        "thinking and solving are a loop and have one unit together; the codecs are counted in the same precision; "
        "kernel starts and transfers are left out"
    )


def _print_all(out: Console, reports: list[dict[str, Any]]) -> None:
    numbers = ("parameters", "tokens", "cache bytes/unit", "think", "solver step")
    rows = table("preset", *numbers, "smallest device that holds it", right=numbers)
    for report in reports:
        fit = next((fit for fit in report["devices"] if fit["devices_needed"] is not None), None)
        rows.add_row(
            report["preset"],
            f"{report['parameters']['total']:,}",
            f"{report['tokens_per_unit']['clean']} + {report['tokens_per_unit']['noisy']}",
            f"{report['cache']['bytes_per_unit']['fp32']:,}",
            _flops(report["flops"]["think"]),
            _flops(report["flops"]["solver_step"]),
            "none of those known" if fit is None else f"{fit['devices_needed']} x {fit['device']}",
        )
    out.print(rows)


def _flops(count: float) -> str:
    exponent = min(max(len(str(int(count))) - 1, 0) // 3, len(_PREFIXES) - 1)
    return f"{count / 1000**exponent:.4g} {_PREFIXES[exponent]}FLOP"


def _duration(minutes: float) -> str:
    return f"{minutes:g} minutes" if minutes >= 1 else f"{60 * minutes:.0f} s"
