# Three commands do everything on a machine with Python 3.11 or newer:
#   make duplex    installs, then runs the full-duplex graph
#   make talk      installs, then serves it to a browser
#   make test      installs, then runs the whole test suite
# An active virtual environment is used as it is; otherwise one is made in .venv.

PYTHON ?= python3
VENV   ?= $(or $(VIRTUAL_ENV),.venv)
BIN    := $(VENV)/bin
RUN    := $(BIN)/wangraph
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST := $(BIN)/python -m pytest
# Tests that only compute run beside each other, a file in one process: its tests share what they have trained. All
# others run alone, as many of them keep time. None of these is ever skipped, so what was is named in the last lines.
COMPUTE := $(wildcard $(patsubst %,tests/test_%.py, ablations adapters_codecs adapters_nodes adapters_qwen \
  backbone_nodes bench_model bf16 cascade compiling damaged_files drift evaluate_* explain fuzz graph_limits identity \
  layers layout lock loopback loops_heal model_cost prefill profile recovery resync resync_nodes scheduler_counts scheduler_laws \
  security set_prefix simulate takeover thinker_performer train_* wire words world_against world_command world_face \
  world_oracle world_user))

.PHONY: duplex talk hello test quick install lint types graphs wheel locked lock audit clean

duplex: $(VENV)/.installed
	$(RUN) run graphs/duplex.yaml --trace duplex.trace
	$(RUN) timeline duplex.trace -o duplex.html

talk: $(VENV)/.installed-live
	$(RUN) serve graphs/duplex.yaml || [ $$? -eq 130 ]  # Ctrl-C is how it ends

hello: $(VENV)/.installed
	$(RUN) run graphs/hello.yaml

test: $(VENV)/.installed-dev
	$(PYTEST) -n auto --maxprocesses 4 --dist loadfile $(COMPUTE) && computed=0 || computed=1; \
	  $(PYTEST) $(addprefix --ignore=,$(COMPUTE)) && exit $$computed

quick: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow and not browser"

install: $(VENV)/.installed-dev

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The repository is the package: type checkers reach it by a link of the right name.
types: $(VENV)/.installed-dev
	mkdir -p .types && ln -sfn .. .types/wangraph
	MYPYPATH=.types $(BIN)/mypy -p wangraph

# Every shipped graph, for a few units of real time; those that have figures and no bodies, simulated.
graphs: $(VENV)/.installed-dev
	mkdir -p build
	for graph in graphs/*.yaml; do \
	  device=$$(grep -q '^params:.*device: cuda' $$graph && [ ! -e /dev/nvidia0 ] && echo '--set device=fake'); \
	  $(RUN) check $$graph $$device > /dev/null || exit 1; \
	  if grep -q published\\. $$graph; then \
	    $(RUN) simulate $$graph --profile $$(basename $$graph .yaml | tr _ -) > /dev/null || exit 1; \
	  else \
	    output=$$(grep -qE '^params:.*output|^extends:' $$graph && echo '--set output=build/graph.mp4'); \
	    $(RUN) run $$graph --units 12 $$output $$device --quiet || exit 1; \
	  fi; \
	done

# The wheel holds wangraph/ only and runs from an empty folder.
wheel: $(VENV)/.installed-dev
	rm -rf build dist && $(BIN)/python -m build --wheel --outdir dist . > /dev/null
	$(BIN)/python -m zipfile -l dist/*.whl | grep -vE '^File Name|wangraph' ; test $$? -eq 1
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/installed dist/*.whl
	mkdir -p build/empty && cd build/empty && PYTHONPATH=../installed $(abspath $(BIN))/python -m wangraph run hello --units 6

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	touch $@

$(VENV)/.installed-live: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[live]'
	touch $(VENV)/.installed $@

$(VENV)/.installed-dev: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[dev,adapters]'
	touch $(VENV)/.installed $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Exactly the versions that were tested, each file checked against its hash; the environment is given up before anything
# else would be installed. TORCH=own: torch is there already, from an index of its own, as its builds for CPUs are.
locked: | $(BIN)/python
	$(BIN)/python -m pip install --require-hashes --no-deps -r requirements.lock \
	  $(if $(filter own,$(TORCH)),,-r requirements-torch.lock)
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .

# Both lock files anew, after a change of setup.cfg or constraints.txt. Needs uv.
lock:
	$(PYTHON) .ci/lock.py

# Known weaknesses of what is locked. Needs pip-audit.
audit:
	pip-audit --require-hashes --disable-pip -r requirements.lock -r requirements-torch.lock

clean:
	rm -rf build dist .types .mypy_cache .ruff_cache .pytest_cache
