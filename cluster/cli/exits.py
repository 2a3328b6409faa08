"""How a command ends: exit codes, and the errors behind them."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from cluster.live.run_state import NothingRuns
from fusion.errors import FusionError, InvalidInput, NotFound, Refused


class ExitCode(IntEnum):
    """What a script learns from a command."""

    DONE = 0
    FAILED = 1  # it was tried and did not succeed
    BAD_INPUT = 2  # it was refused as asked; nothing was changed
    INTERRUPTED = 130


class Unreachable(FusionError):
    """The VRM does not answer."""


class BrokeDown(FusionError):
    """What was up and announced as such has ended by itself."""


class TasksFailed(FusionError):
    """Orders were accepted, and not all of them succeeded; ``document`` tells of each."""

    def __init__(self, sentence: str, document: dict[str, Any]) -> None:
        super().__init__(sentence)
        self.document = document


class PlanRefused(Refused):
    """What was planned only would be refused; ``document`` tells of each check."""

    def __init__(self, sentence: str, document: dict[str, Any]) -> None:
        super().__init__(sentence)
        self.document = document


#: How an error is called in the JSON document, from the most special kind to the most general.
_KINDS: tuple[tuple[type[FusionError], str, ExitCode], ...] = (
    (BrokeDown, "broke-down", ExitCode.FAILED),
    (Unreachable, "unreachable", ExitCode.FAILED),
    (NothingRuns, "nothing-runs", ExitCode.BAD_INPUT),
    (TasksFailed, "task-failed", ExitCode.FAILED),
    (InvalidInput, "invalid-input", ExitCode.BAD_INPUT),
    (NotFound, "not-found", ExitCode.BAD_INPUT),
    (Refused, "refused", ExitCode.BAD_INPUT),
)


def kind_of(error: FusionError) -> str:
    return _entry(error)[0]


def exit_code_of(error: FusionError) -> ExitCode:
    return _entry(error)[1]


def _entry(error: FusionError) -> tuple[str, ExitCode]:
    for kind, name, code in _KINDS:
        if isinstance(error, kind):
            return name, code
    return "failed", ExitCode.FAILED
