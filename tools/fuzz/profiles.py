"""Profiles of a graph, changed as YAML and as text, and simulated."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

from ...runtime.errors import WangraphError
from ...runtime.forecast.profile_file import load_profile
from ...runtime.forecast.simulate import simulate
from .damage import spoilt, spoilt_bytes
from .example import example
from .reader import Reader

COSTS_MS = {"pattern": 1, "words": 1, "mix": 30, "sync": 1, "end": 1}

PROFILE: dict[str, Any] = {
    "name": "p",
    "source": "assumed",
    "nodes": {name: {"cost_ms": ms, "p95_ms": 2 * ms, "per_unit_ms": 0.1} for name, ms in COSTS_MS.items()},
    "transfers": {"*": {"ms": 0.3, "p95_ms": 1.0}},
    "clock": {"late_ms": 0.1, "p95_ms": 1.0},
    "machines": {"all": {"processes": ["main", "far"], "cores": 4}},
    "rows": {"columns": ["mix", "end"], "ms": [[40, 30], [50, 20]]},
}


class Profiles(Reader):
    """See the module."""

    declared = (WangraphError,)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._plan = example().plan()

    def case(self, chance: random.Random) -> str:
        """A profile's text."""
        profile = PROFILE
        for _ in range(chance.choice([1, 1, 2, 4])):
            profile = spoilt(profile, chance)
        text = yaml.safe_dump(profile, sort_keys=False)
        return spoilt_bytes(text.encode(), chance).decode("utf-8", "replace") if chance.random() < 0.2 else text

    def read(self, case: str) -> None:
        """Simulate a few units with it."""
        path = self.folder / "p.yaml"
        path.write_bytes(case.encode("utf-8", "surrogatepass"))
        simulate(self._plan, load_profile(path), 12)
