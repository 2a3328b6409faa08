"""Write the dashboards and rules that the Helm chart carries, into its files.

They are those of ``fusion observe write`` for a datacenter at its usual pace. Rules say
``@datacenter@`` where the chart fills in its datacenter's name.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from cluster.datacenter_file import load
from cluster.observe import folder
from cluster.observe.places import DASHBOARDS, RULES

FILES = Path(__file__).parent.parent / "helm" / "fusion" / "files"
PLACEHOLDER = "@datacenter@"


def chart_files() -> dict[Path, str]:
    """Return what is to lie in the chart's files, by its path there."""
    datacenter = replace(load("demo"), name=PLACEHOLDER)
    with tempfile.TemporaryDirectory() as directory:
        written = folder.write(Path(directory), datacenter)
        texts = {file.relative_to(directory): file.read_text(encoding="utf-8") for file in written}
    return {path: text for path, text in texts.items() if path.parts[0] in (DASHBOARDS, RULES)}


if __name__ == "__main__":
    for path, text in chart_files().items():
        (FILES / path).parent.mkdir(parents=True, exist_ok=True)
        (FILES / path).write_text(text, encoding="utf-8")
        print(FILES / path, file=sys.stderr)
