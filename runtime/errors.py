"""The exception tree, and how messages are worded.

Every message reads ``where: found (expected or available), remedy``.

    WangraphError
    |- UserError          the user's mistake; the command line exits with 2
    |  |- GraphError      a graph that cannot be run: YAML, wiring, contracts, parameters
    |  |- MediaError      a file or device that cannot be read or written
    |  |- CheckpointError weights that do not fit
    |  `- MissingExtra    an optional package that is not installed
    `- RunError           the run's failure; the command line exits with 1
       |- NodeError       a node raised or returned what its contract forbids
       |- ProcessLost     a process of the run is gone
       `- StartError      a process did not become ready in time
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WangraphError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class UserError(WangraphError):
    """Something the user wrote, gave or lacks."""

    exit_code = 2


class GraphError(UserError):
    """A graph that cannot be run."""


class MediaError(UserError):
    """A media file or device that cannot be read or written."""


class CheckpointError(UserError):
    """Weights that cannot be loaded or have other shapes than the model."""


class MissingExtra(UserError):
    """An optional package is needed and not installed."""


class RunError(WangraphError):
    """The run failed."""


class NodeError(RunError):
    """A node raised, or returned what its contract forbids; names node, unit and port."""


class ProcessLost(RunError):
    """A process of the run ended by itself."""


class StartError(RunError):
    """A process did not become ready before its deadline."""


def error_of(kind: str, text: str) -> WangraphError:
    """An error that another process reported, by the name of its class; a `RunError` if the class is not known here."""
    known = {cls.__name__: cls for cls in _below(WangraphError)}
    return known.get(kind, RunError)(text)


def _below(cls: type[WangraphError]) -> list[type[WangraphError]]:
    return [cls, *(found for sub in cls.__subclasses__() for found in _below(sub))]


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """``"; did you mean 'audio'?"`` when an option is close to ``word``, else the empty string."""
    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def listing(options: Iterable[str]) -> str:
    """Options as they appear in messages: sorted, comma separated, ``none`` when there are none."""
    return ", ".join(sorted(options)) or "none"
