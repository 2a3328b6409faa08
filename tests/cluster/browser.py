"""Debian's chromium, headless, for looking at pages that lie in files."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
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


def evaluated(page: Path, expression: str, *, width: int = 1280, dark: bool = False) -> Any:
    """Return what a JavaScript ``expression`` comes to in ``page``, in a frame of ``width``.

    Windows of the browser have a least width, frames have none. The frame has a copy of the page
    without its policy, which would not let anything be evaluated.
    """
    script = f"parent.document.documentElement.dataset.found = JSON.stringify({expression})"
    text = _POLICY.sub("", page.read_text(encoding="utf-8"))
    text = text.replace("</body>", f"<script>{script}</script></body>")
    style = f"width: {width}px; height: 900px; border: 0"
    frame = page.with_name("frame.html")
    framed = f'<!doctype html><iframe style="{style}" srcdoc="{html.escape(text)}"></iframe>'
    frame.write_text(framed, encoding="utf-8")
    found = re.search(r'data-found="([^"]*)"', opened(frame, dark=dark).dom)
    assert found is not None, f"{expression} failed"
    return json.loads(html.unescape(found[1]))
