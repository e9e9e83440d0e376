"""Make ``requirements.lock`` and ``requirements-torch.lock`` anew: every package that wangraph and its extras need, in
the versions of ``constraints.txt``, each file of it with its hash as the index gives it.

    make lock        needs uv: pip install uv

Torch, and what else only graphics cards need, stands alone: torch's builds for CPUs come from an index of their own,
where other files of the same version have other hashes. Both files together are what PyPI gives.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCHES_OWN = re.compile(r"(torch|triton|nvidia-.*|cuda-.*|cupy-.*)==")
HEADER = "# Made by make lock; installed, and each file checked, by make locked.\n"


def main() -> None:
    """Write both files."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lists = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    wanted = "\n".join([*build, *lists])
    words = "uv pip compile - --constraints constraints.txt --generate-hashes --universal --python-version 3.11"
    words += " --no-header --no-annotate --quiet --default-index https://pypi.org/simple"
    try:
        made = subprocess.run(words.split(), input=wanted, cwd=ROOT, text=True, check=True, stdout=subprocess.PIPE)
    except FileNotFoundError:
        sys.exit("lock: found no uv (expected it on the path), install it: pip install uv")
    entries = re.split(r"\n(?=\S)", made.stdout.strip())
    for name, is_torches in (("requirements.lock", False), ("requirements-torch.lock", True)):
        chosen = [entry for entry in entries if bool(TORCHES_OWN.match(entry)) == is_torches]
        (ROOT / name).write_text(HEADER + "\n".join(chosen) + "\n")


if __name__ == "__main__":
    main()
