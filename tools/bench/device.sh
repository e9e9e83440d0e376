#!/usr/bin/env bash
# Everything about devices that needs a GPU, in one go: what it can do, the contract, hops, the agent on it.
# Run it in a checkout, in an environment that has torch for CUDA: bash tools/bench/device.sh [FOLDER]
set -uo pipefail
out=${1:-device}
mkdir -p "$out"

step() {
  local name=$1
  shift
  echo "== $name"
  timeout 240 "$@" > "$out/$name.txt" 2>&1
  local status=$?
  echo "exit $status" >> "$out/$name.txt"
  tail -n 12 "$out/$name.txt"
}

python -m pip install -q -e '.[gpu]' pytest pytest-timeout
step doctor python -m wangraph doctor
step contract python -m pytest -q tests/test_device.py
step hops python -m wangraph bench device --rounds 3 --seconds 5 --json "$out/hops.json"
step agent python -m wangraph run duplex_gpu --set user.loop=true --duration 30 --force \
  --set output="$out/agent.mp4" --json "$out/agent.json"
step model python -m wangraph bench model --rounds 1
