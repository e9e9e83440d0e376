"""Interface of what is fuzzed: a reader, and inputs for it."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar


class Reader(ABC):
    """One kind of input.

    Args:
        folder: its own, where it may write.

    Attributes:
        declared: errors by which an input may be refused.
    """

    declared: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def case(self, chance: random.Random) -> Any:
        """Make an input: mostly a valid one with something spoilt, the same of the same chance."""

    @abstractmethod
    def read(self, case: Any) -> None:
        """Read an input, as far as any command does; raises what is `declared`, or nothing."""
