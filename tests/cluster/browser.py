"""Debian's chromium, headless, for looking at pages that lie in files."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_CHROMIUM = shutil.which("chromium")
_LIMIT_S = 120  # of wall time, for a machine that is busy
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

needs_chromium = pytest.mark.skipif(_CHROMIUM is None, reason="there is no chromium here")


@dataclass(frozen=True, slots=True)
class Opened:
    """A page as the browser understood it, and what it wrote to its console meanwhile."""

    dom: str
    console: list[str]


def opened(page: Path, *, dark: bool = False) -> Opened:
    """Open ``page`` in a browser of its own, which finds no other machine."""
    assert _CHROMIUM is not None
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-proxy-server",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--enable-logging=stderr",
        f"--user-data-dir={page.parent / 'profile'}",
        "--window-size=1400,1000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--dump-dom",
    )
    command = [_CHROMIUM, *options, page.as_uri()]
    said = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=True)
    console = [line for line in said.stderr.splitlines() if ":CONSOLE" in line]
    return Opened(said.stdout, console)


def understood(pages: Sequence[Path], folder: Path) -> tuple[list[str], list[str]]:
    """Return the titles of ``pages`` as they are, and what they wrote to the console of a browser
    that has each in a frame.
    """
    titles = "[...document.querySelectorAll('iframe')].map((each) => each.contentDocument.title)"
    frames = [_frame(page.read_text(encoding="utf-8"), 1280) for page in pages]
    script = f"<script>addEventListener('load', () => {{ {_keep(titles, 0)} }})</script>"
    seen = opened(_written(folder, "".join([script, *frames])))
    return _kept(seen, 0), seen.console


@dataclass(frozen=True, slots=True)
class Asked:
    """What a JavaScript ``expression`` comes to in ``page``, in a frame of ``width``."""

    page: Path
    expression: str
    width: int = 1280


def evaluated(page: Path, expression: str, *, width: int = 1280, dark: bool = False) -> Any:
    """Return what a JavaScript ``expression`` comes to in ``page``, in a frame of ``width``."""
    (found,) = answers([Asked(page, expression, width)], page.parent, dark=dark)
    return found


def answers(questions: Sequence[Asked], folder: Path, *, dark: bool = False) -> list[Any]:
    """Return what each expression comes to, all in one browser.

    Windows of the browser have a least width, frames have none. A frame has a copy of its page
    without the policy, which would not let anything be evaluated.
    """
    frames = []
    for number, asked in enumerate(questions):
        script = _keep(asked.expression, number, "parent.document")
        text = _POLICY.sub("", asked.page.read_text(encoding="utf-8"))
        text = text.replace("</body>", f"<script>{script}</script></body>")
        frames.append(_frame(text, asked.width))
    seen = opened(_written(folder, "".join(frames)), dark=dark)
    return [_kept(seen, number) for number in range(len(questions))]


def _frame(text: str, width: int) -> str:
    style = f"width: {width}px; height: 900px; border: 0"
    return f'<iframe style="{style}" srcdoc="{html.escape(text)}"></iframe>'


def _written(folder: Path, frames: str) -> Path:
    path = folder / "frame.html"
    path.write_text(f"<!doctype html>{frames}", encoding="utf-8")
    return path


def _keep(expression: str, number: int, document: str = "document") -> str:
    return f"{document}.documentElement.dataset.found{number} = JSON.stringify({expression})"


def _kept(seen: Opened, number: int) -> Any:
    found = re.search(rf'data-found{number}="([^"]*)"', seen.dom)
    assert found is not None, f"expression {number} failed"
    return json.loads(html.unescape(found[1]))
