"""Fixtures that the law tests share. Imports torch only where a test asks for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import programs
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from torch import nn

    Module = TypeVar("Module", bound=nn.Module)


# A test says the same every time: new cases are looked for on purpose, with `--hypothesis-profile=default`.
settings.register_profile("certain", derandomize=True)
settings.load_profile("certain")

# What is not there ----------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail if anything is skipped")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    needed = [program for mark in item.iter_markers("needs") for program in mark.args]
    if item.get_closest_marker("browser"):
        needed.append("chromium")
    if reason := programs.lacking(needed):
        pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in programs.summary([report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])]):
        terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the run's own: what is made is the same on every machine, and nobody's home is written to."""
    kept = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    del os.environ["XDG_CACHE_HOME"]
    if kept is not None:
        os.environ["XDG_CACHE_HOME"] = kept


# Models ---------------------------------------------------------------------------------------------------------------


def _randomise(module: Module, seed: int = 0) -> Module:
    """Fill every parameter with noise and every learned spread with numbers around one.

    Zero-initialised gates and outputs would hide a broken mask or a look-ahead behind a product with zero.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * fan_in**-0.5)
        for name, buffer in module.named_buffers():
            if name.endswith("std"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return module.eval()


@pytest.fixture
def randomise() -> Callable[..., nn.Module]:
    """``randomise(module, seed=0)``: fills all its parameters with noise, returns it in eval mode."""
    return _randomise


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Bit-equality is promised at equal thread counts only, so every test has the same."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


# Laws -----------------------------------------------------------------------------------------------------------------
# The streaming laws, and for each a planted bug that must break it: a test with an argument `law` runs once for each
# law, one with `law` and `twin` once for each pair. A `Stream` is anything that keeps a state between units.


@dataclass(frozen=True)
class _Stream:
    """``step(x, state) -> y, state``, ``new_state(batch)`` and inputs [B, U, ...] to try it on."""

    step: Callable[..., Any]
    new_state: Callable[[int], Any]
    inputs: Any

    def whole(self, inputs: Any) -> Any:
        return self.step(inputs, self.new_state(len(inputs)))[0]


def _chunked_equals_whole(stream: _Stream) -> None:
    import torch

    for sizes in ([1] * 6, [2, 1, 3], [5, 1]):
        state, parts = stream.new_state(len(stream.inputs)), []
        for chunk in stream.inputs.split(sizes, 1):
            y, state = stream.step(chunk, state)
            parts.append(y)
        torch.testing.assert_close(torch.cat(parts, 1), stream.whole(stream.inputs), atol=1e-4, rtol=0)


def _the_future_changes_nothing(stream: _Stream) -> None:
    import torch

    y = stream.whole(stream.inputs)
    for unit in (1, 3, 5):
        other = stream.inputs.clone()
        other[:, unit:] = 0.3 * torch.randn(other[:, unit:].shape)
        torch.testing.assert_close(stream.whole(other)[:, :unit], y[:, :unit], atol=1e-6, rtol=0)


def _the_past_changes_the_present(stream: _Stream) -> None:
    other = stream.inputs.clone()
    other[:, 2] = -other[:, 2]
    changed = (stream.whole(other) - stream.whole(stream.inputs)).abs()
    assert changed[:, 3].max() > 1e-4


def _restored_equals_uninterrupted(stream: _Stream) -> None:
    import torch

    state = stream.step(stream.inputs[:, :3], stream.new_state(len(stream.inputs)))[1]
    saved = state.save()
    y = stream.step(stream.inputs[:, 3:4], state)[0]
    stream.step(stream.inputs[:, :2], stream.new_state(len(stream.inputs)))  # another session in between
    fresh = stream.new_state(len(stream.inputs))
    fresh.restore(saved)
    assert torch.equal(stream.step(stream.inputs[:, 3:4], fresh)[0], y)


def _rows_do_not_meet(stream: _Stream) -> None:
    import torch

    y = stream.whole(stream.inputs)
    for row in range(len(stream.inputs)):
        torch.testing.assert_close(stream.whole(stream.inputs[row : row + 1])[0], y[row], atol=1e-4, rtol=0)


def _peeking(stream: _Stream) -> _Stream:
    def step(x: Any, state: Any) -> Any:
        y, state = stream.step(x, state)
        y = y.clone()
        y[:, :-1] += y[:, 1:]
        return y, state

    return replace(stream, step=step)


def _forgetful(stream: _Stream) -> _Stream:
    return replace(stream, step=lambda x, state: (stream.step(x, state)[0], stream.new_state(len(x))))


def _without_memory(stream: _Stream) -> _Stream:
    import torch

    def step(x: Any, state: Any) -> Any:
        return torch.cat([stream.whole(unit) for unit in x.split(1, 1)], 1), state

    return replace(stream, step=step)


def _with_hidden_memory(stream: _Stream) -> _Stream:
    kept: dict[str, Any] = {}

    def step(x: Any, state: Any) -> Any:
        y, kept["state"] = stream.step(x, kept.get("state", state))
        return y, kept["state"]

    return replace(stream, step=step)


def _mixing_rows(stream: _Stream) -> _Stream:
    def step(x: Any, state: Any) -> Any:
        y, state = stream.step(x, state)
        return y + y.mean(0, keepdim=True), state

    return replace(stream, step=step)


LAWS = {
    _the_future_changes_nothing: _peeking,
    _chunked_equals_whole: _forgetful,
    _the_past_changes_the_present: _without_memory,
    _restored_equals_uninterrupted: _with_hidden_memory,
    _rows_do_not_meet: _mixing_rows,
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = [name for name in ("law", "twin") if name in metafunc.fixturenames]
    if names:
        rows = [pair if len(names) == 2 else pair[0] for pair in LAWS.items()]
        metafunc.parametrize(
            names if len(names) == 2 else names[0], rows, ids=[law.__name__.strip("_") for law in LAWS]
        )


@pytest.fixture
def stream() -> type[_Stream]:
    """The class: ``stream(step, new_state, inputs)``."""
    return _Stream
