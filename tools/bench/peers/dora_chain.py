"""dora: nodes in processes of their own, each of which sends on what it takes; it shares memory for large payloads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from dora import Node
from pace import Request, paced, request, say

POOL = 1 << 29
"""Bytes of each node's shared memory; with its own default of 8 MiB larger payloads are lost."""
SETTLING_S = 1.0


def launch(wanted: Request) -> None:
    """Run the dataflow, and print what its last node has found."""
    with tempfile.TemporaryDirectory() as folder:
        flow, found = Path(folder, "flow.yml"), Path(folder, "found")
        nodes = [
            {
                "id": f"node{place}",
                "path": str(Path(__file__).resolve()),
                "args": " ".join(sys.argv[1:]),
                "env": {"PLACE": str(place), "FOUND": str(found), "DORA_NODE_SHM_POOL_SIZE": str(POOL)},
                **({"inputs": {"in": {"source": f"node{place - 1}/out", "queue_size": 8}}} if place else {}),
                **({"outputs": ["out"]} if place < wanted.n_processes - 1 else {}),
            }
            for place in range(wanted.n_processes)
        ]
        flow.write_text(json.dumps({"nodes": nodes}))  # JSON is YAML
        programs = Path(sys.executable).parent
        environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
        command = [str(programs / "dora"), "run", str(flow), "--log-level", "error"]
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=sys.stderr)
        print(found.read_text(), flush=True)


def first(wanted: Request) -> None:
    """Send every hop."""
    node, payload = Node(), np.arange(wanted.n_bytes, dtype=np.uint8)
    time.sleep(SETTLING_S)  # until its readers have subscribed: what is sent before is lost
    for number in paced(wanted):
        sent = time.monotonic_ns()
        node.send_output("out", pa.array(payload), {"number": number, "sent": sent})
    time.sleep(SETTLING_S)


def later(wanted: Request, place: int) -> None:
    """Take every hop, and send it on."""
    node, took = Node(), dict[int, int]()
    is_last = place == wanted.n_processes - 1
    for event in node:
        if event["type"] != "INPUT":
            continue
        value, about = event["value"], event["metadata"]
        if is_last:
            took[about["number"]] = time.monotonic_ns() - about["sent"]
        else:
            node.send_output("out", value, {"number": about["number"], "sent": about["sent"]})
    if is_last:
        with Path(os.environ["FOUND"]).open("w") as file:
            say(wanted, took, None, file)


if __name__ == "__main__":
    if "PLACE" not in os.environ:
        launch(request())
    elif (place := int(os.environ["PLACE"])) == 0:
        first(request())
    else:
        later(request(), place)
