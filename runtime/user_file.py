"""Python files of users, run once a process: what two nodes name is one module, and its classes keep their identity."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType


def load_file(path: Path) -> ModuleType:
    """Run a ``.py`` file that is there, under one name made of its path; the second time, give what it made.

    Raises:
        BaseException: whatever the file raises. It is run anew the next time.
    """
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"wangraph_file_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    # before it runs: dataclasses and pickles of the file look their module up by its name
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
