"""Locked dependencies: whole, each file with its hash, and of the versions that the tests pass with."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = ("requirements.lock", "requirements-torch.lock")
PINNED = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)(?: ; [^\\]+)?")
HASHED = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def plain(name: str) -> str:
    """A name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", name.strip())[0]).lower()


def locked(file: str) -> dict[str, set[str]]:
    """Versions by name; every entry is one pin, and hashes."""
    found: dict[str, set[str]] = {}
    text = "\n".join(line for line in (ROOT / file).read_text().splitlines() if not line.startswith("#"))
    for entry in re.split(r"\n(?=\S)", text.strip()):
        pin, *hashes = [part.strip() for part in entry.split("\\\n")]
        match = PINNED.fullmatch(pin)
        assert match, pin
        assert hashes and all(HASHED.fullmatch(part) for part in hashes), pin
        found.setdefault(plain(match[1]), set()).add(match[2])
    return found


def test_both_files_name_every_version_of_the_constraints():
    versions = {name: found for file in FILES for name, found in locked(file).items()}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pins and {plain(name): versions.get(plain(name)) for name in pins} == {
        plain(name): {version} for name, version in pins.items()
    }


def test_what_is_needed_is_locked_with_its_extras_and_what_builds_it():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lists = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    needed = {plain(name) for text in lists for name in text.split("\n") if name.strip()}
    needed |= {plain(name) for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]}
    assert needed - {name for file in FILES for name in locked(file)} == set()


def test_torch_and_what_graphics_cards_alone_need_stand_apart():
    alone, others = locked("requirements-torch.lock"), locked("requirements.lock")
    assert "torch" in alone and not alone.keys() & others.keys()
    assert not [name for name in others if name.startswith(("nvidia-", "cuda-", "cupy-", "triton"))]
