"""The catalogue of alarms is that of the roles: each kind that any of them gives is known."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import cluster
from fusion.experiment.alarms import ALARMS

ROLES = ("vrm", "agent", "storage")
WEIGHTY = ("ERROR", "WARNING")


def calls() -> Iterator[ast.Call]:
    """Every call in the source of the roles."""
    for role in ROLES:
        for file in (Path(cluster.__path__[0]) / role).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield node


def weighty_kinds() -> set[str]:
    """The kinds that stand beside a severity that is more than news."""
    found: set[str] = set()
    for call in calls():
        match call.args:
            case [ast.Attribute(ast.Name("Severity"), severity), ast.Constant(str(kind)), *_]:
                found |= {kind} if severity in WEIGHTY else set()
        match call.func, call.args:
            case ast.Attribute(attr="_tell" | "add"), [ast.Constant(str(kind)), *_]:
                severe = [each.value for each in call.keywords if each.arg == "severe"]
                news = [isinstance(v, ast.Constant) and v.value is False for v in severe]
                found |= {kind} if news == [False] else set()
            case ast.Attribute(attr="_tell"), [ast.Name("host"), ast.Constant(str(what)), *_]:
                found.add(f"host.{what}")
            case ast.Attribute(attr="open" | "_begin"), [ast.Constant(str(kind)), *_]:
                found.add(kind)  # of tasks, which may fail
    return found


def test_every_alarm_of_the_roles_is_known() -> None:
    found = weighty_kinds()
    assert {"host.disconnected", "host.dead", "vm.held", "vrm.restarted", "vm.start"} <= found
    assert found <= set(ALARMS), found - set(ALARMS)
