"""What commands write: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from cluster.cli.exits import PlanRefused, TasksFailed, kind_of
from fusion.errors import FusionError

if TYPE_CHECKING:
    from rich.console import Console

#: Where nobody looks at a terminal, tables are not cut to one.
PIPE_WIDTH = 240


def document(value: object) -> None:
    """Print ``value`` as the one JSON document of a command."""
    print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)


def line(value: object) -> None:
    """Print ``value`` as one line of a stream of JSON documents, at once."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def error(problem: FusionError) -> None:
    """Say what went wrong, a sentence a line, for people."""
    for sentence in str(problem).splitlines() or [type(problem).__name__]:
        message("error", sentence, colour="31")


def warning(text: str) -> None:
    """Say what went wrong without keeping the command from its end."""
    message("warning", text, colour="33")


def note(text: str) -> None:
    """Say something beside the result."""
    print(text, file=sys.stderr, flush=True)


def message(label: str, text: str, colour: str) -> None:
    """Write ``label: text`` to standard error, the label in colour on a terminal."""
    print(f"{painted(f'{label}:', f'1;{colour}', sys.stderr)} {text}", file=sys.stderr, flush=True)


def red(text: str, stream: Any) -> str:
    """Return ``text`` as it is written to ``stream`` where it tells of something bad."""
    return painted(text, "1;31", stream)


def painted(text: str, colour: str, stream: Any) -> str:
    """Return ``text`` in ``colour``, a code of terminals, where ``stream`` shows any."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colour and colourful(stream) else text


def error_document(problem: FusionError) -> dict[str, Any]:
    """What a script gets in place of a result."""
    body: dict[str, Any] = {"message": str(problem), "kind": kind_of(problem)}
    mistakes = getattr(problem, "mistakes", None)
    if mistakes:
        body["mistakes"] = list(mistakes)
    partial = problem.document if isinstance(problem, TasksFailed | PlanRefused) else {}
    return {**partial, "error": body}


def console() -> Console:
    """The console for results."""
    return _console(stderr=False)


def error_console() -> Console:
    """The console for progress."""
    return _console(stderr=True)


def colourful(stream: Any) -> bool:
    return bool(stream.isatty()) and "NO_COLOR" not in os.environ


def _console(stderr: bool) -> Console:
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False, emoji=False)
    if not made.file.isatty() and "COLUMNS" not in os.environ:
        made.width = PIPE_WIDTH
    return made


def watched(console: Console) -> bool:
    """Tell whether somebody looks at ``console`` who can be shown things that move."""
    return console.file.isatty() and not console.is_dumb_terminal
