"""The command line in the test's own process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


class Said:
    """What a command said and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> Any:
        return json.loads(self.out)


#: Runs the command with these arguments.
Fusion = Callable[..., Said]
