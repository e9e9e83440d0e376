"""``python -m wangraph.runtime.engine.child NAME ADDRESS PARENT``: how the supervisor starts a process of a run."""

from __future__ import annotations

import sys

from ..logs import take_level
from ..run_token import read_token
from .process import main

take_level()
main(sys.argv[1], sys.argv[2], int(sys.argv[3]), read_token())
