"""Each node of a graph with its class: parameters checked and complete, files found, ports known."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import GraphError, UserError, did_you_mean, listing
from ..node import Node, Parameter
from ..places import raised
from ..ports import Input, Output
from .catalogue import find_type
from .marks import Problems
from .plan import REDACTED
from .spec import INITS, Edge, GraphSpec, NodeSpec, ParamSpec


@dataclass(frozen=True)
class Bound:
    """A node as written, and what its class says about it under these parameters."""

    spec: NodeSpec
    target: str
    cls: type[Node]
    params: dict[str, Any]
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]

    @property
    def name(self) -> str:
        """The node's name in the graph."""
        return self.spec.name

    @property
    def secrets(self) -> tuple[str, ...]:
        """Parameters whose values nothing repeats."""
        given = self.spec.params
        return tuple(k for k, p in self.cls.params.items() if p.secret or (k in given and given[k].is_secret))

    @property
    def cost_ns(self) -> int:
        """Its budget, 0 when none is declared."""
        return round((self.spec.budget_ms or 0.0) * 1_000_000)


def bind(spec: GraphSpec, problems: Problems) -> dict[str, Bound]:
    """Find every class, check every parameter; nodes with mistakes are left out."""
    bound = {}
    for node in spec.nodes.values():
        before = len(problems.lines)
        found = _bind_node(node, spec.folder, problems)
        if found is not None and len(problems.lines) == before:
            bound[node.name] = found
    return bound


def check_outside(bound: Mapping[str, Bound], problems: Problems) -> None:
    """Let every node look at the outside world: files there, outputs writable."""
    for node in bound.values():
        try:
            node.cls.check(node.params)
        except UserError as error:
            problems.add(node.spec.at("params"), f"node '{node.name}': {error}")
        except (Exception, SystemExit) as error:  # the node author's code: its mistakes are told like any other
            problems.add(node.spec.at("params"), f"node '{node.name}': check() raised {raised(error, node.cls.check)}")


def check_written(bound: Mapping[str, Bound], problems: Problems) -> None:
    """Note files that would be written while they are read, or by two nodes."""
    read = {path: node.spec.name for node in bound.values() for path in _paths(node, "input")}
    written: dict[str, str] = {}
    for node in bound.values():
        for path in _paths(node, "output"):
            name, at = node.spec.name, node.spec.at("params")
            if path in read:
                problems.add(
                    at,
                    f"node '{name}': {path}: is what node '{read[path]}' reads (expected another file), "
                    "it would be lost: set params.path",
                )
            elif path in written:
                problems.add(
                    at,
                    f"node '{name}': {path}: is written by node '{written[path]}' (expected one writer of a file), "
                    "set params.path",
                )
            written[path] = name


def check_restarts(
    spec: GraphSpec, bound: Mapping[str, Bound], places: Mapping[str, tuple[str, str]], problems: Problems
) -> None:
    """Note a standby that nothing would put to use, and files that a process would begin anew when it is started again:
    what it had written would be lost."""
    for process in spec.processes.values():
        if process.standby and process.on_crash != "restart":
            problems.add(
                process.mark,
                f"process '{process.name}', standby: found on_crash: {process.on_crash} (expected restart: nothing "
                "else puts it to use), write on_crash: restart",
            )
    for node in bound.values():
        name, process_of = node.spec.name, spec.processes.get(places[node.spec.name][0])
        if process_of is not None and process_of.on_crash == "restart" and (paths := _paths(node, "output")):
            problems.add(
                node.spec.at("process"),
                f"node '{name}': {min(paths)}: is written in process '{process_of.name}', which is restarted when it "
                "crashes (expected a process that is not: its next life would begin the file anew), move the node to "
                "a process of its own",
            )


def _paths(node: Bound, kind: Literal["input", "output"]) -> set[str]:
    """The files that a node's parameters name, as the file system knows them; folders and devices lose nothing."""
    named = [node.params[key] for key, param in node.cls.params.items() if param.path == kind]
    paths = {os.path.realpath(value) for value in named if value is not None and str(value)}
    return {path for path in paths if os.path.isfile(path) or not os.path.exists(path)}


def find_input(value: str, folder: Path | None, graph_folder: Path) -> str:
    """A file to read, absolute: beside the file that names it, then in the current folder; values given from
    outside: in the current folder, then beside the graph. What is not found stays as written."""
    folders = (folder, Path.cwd()) if folder is not None else (Path.cwd(), graph_folder)
    for base in folders:
        path = base / Path(value).expanduser()
        if os.path.exists(path):  # unlike Path's own, it takes any text for a name
            return os.path.abspath(path)
    return value


def find_init(edge: Edge, graph_folder: Path) -> str | None:
    """Initial packets of an edge: a word for them, or a file as `find_input` finds it; None without a delay."""
    if edge.init is None or edge.init in INITS:
        return edge.init
    return find_input(edge.init, edge.folder, graph_folder)


def _bind_node(node: NodeSpec, folder: Path, problems: Problems) -> Bound | None:
    where = f"node '{node.name}'"
    try:
        target, cls = find_type(node.type, node.folder or folder)
    except GraphError as error:
        problems.add(node.at("type"), f"{where}: {error}")
        return None
    if cls.is_stateful() and cls.gap is Node.gap:
        problems.add(
            node.at("type"),
            f"{where}: found {cls.__name__}, which keeps state but has no 'gap' (expected new_state and gap together), "
            "write gap(self, state, units): what a lost unit does to the state",
        )
    params = _params(node, cls, folder, problems)
    _check_ladder(node, cls, problems)
    if params is None:
        return None
    try:
        inputs, outputs = cls.ports(params)
    except UserError as error:
        problems.add(node.at("params"), f"{where}: {error}")
        return None
    except (Exception, SystemExit) as error:  # the node author's code: its mistakes are told like any other
        problems.add(node.at("params"), f"{where}: ports() raised {raised(error, cls.ports)}")
        return None
    return Bound(node, target, cls, params, inputs, outputs)


def _params(node: NodeSpec, cls: type[Node], folder: Path, problems: Problems) -> dict[str, Any] | None:
    """Every parameter of the class with its value; None when one is wrong."""
    where = f"node '{node.name}'"
    before = len(problems.lines)
    for key, given in node.params.items():
        if key not in cls.params:
            problems.add(
                given.mark,
                f"{where}: no parameter '{key}' (it has: {listing(cls.params)}){did_you_mean(key, cls.params)}",
            )
    values = {}
    for key, param in cls.params.items():
        given = node.params.get(key, ParamSpec(None if param.is_required else param.default, node.mark))
        if key not in node.params and param.is_required:
            problems.add(node.mark, f"{where}: parameter '{key}' is missing (expected params: {{{key}: ...}})")
            continue
        try:
            checked = param.checked(f"{where}: {key}", given.value) if key in node.params else given.value
        except GraphError as error:
            is_secret = param.secret or given.is_secret
            problems.add(given.mark, str(error).replace(repr(given.value), REDACTED) if is_secret else str(error))
            continue
        values[key] = _located(param, checked, given, folder)
    return values if len(problems.lines) == before else None


def _check_ladder(node: NodeSpec, cls: type[Node], problems: Problems) -> None:
    """Every level says what parameters of the class are worth at it."""
    for number, level in enumerate(node.ladder):
        where = f"node '{node.name}': ladder, level {number}"
        for key, value in level.items():
            if key not in cls.params:
                hint = did_you_mean(key, cls.params)
                problems.add(node.at("ladder"), f"{where}: no parameter '{key}' (it has: {listing(cls.params)}){hint}")
                continue
            try:
                cls.params[key].checked(f"{where}: {key}", value)
            except GraphError as error:
                problems.add(node.at("ladder"), str(error))


def _located(param: Parameter, value: Any, given: ParamSpec, folder: Path) -> Any:
    """The value with its path made absolute, where it is one."""
    if param.path is None or not isinstance(value, str | Path) or not str(value):
        return value
    text = str(value)
    found = (
        find_input(text, given.folder, folder) if param.path == "input" else os.path.abspath(os.path.expanduser(text))
    )
    return Path(found) if isinstance(value, Path) else found
