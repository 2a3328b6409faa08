"""What a launch says while it goes on: one JSON object a line, from the launcher to its parent."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum


class Step(StrEnum):
    """The stages of a launch, in their order."""

    RAY = "ray"
    VRM = "vrm"
    HOSTS = "hosts"
    VMS = "vms"
    UP = "up"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``of`` in ``step``; ``text`` is a sentence for the user.

    Where it failed ``text`` is the error, and ``refused`` tells a launch that was refused as asked
    (exit code 2) from one that broke (1).
    """

    step: Step
    done: int = 0
    of: int = 0
    text: str = ""
    refused: bool = False

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @staticmethod
    def parse(line: str) -> Progress:
        raw = json.loads(line)
        return Progress(Step(raw["step"]), raw["done"], raw["of"], raw["text"], raw["refused"])
