"""Reports of experiments: a page for people, JSON for programs, JUnit for CI."""

from __future__ import annotations

import json
from pathlib import Path

from cluster.chaos.report.document import to_json
from cluster.chaos.report.junit import junit
from cluster.chaos.report.page import page
from fusion.experiment.evidence import Evidence

__all__ = ["junit", "to_json", "write"]


def write(evidence: Evidence, directory: Path) -> Path:
    """Write ``report.html`` and ``report.json`` to ``directory``; returns the path of the page."""
    directory.mkdir(parents=True, exist_ok=True)
    document = json.dumps(to_json(evidence), ensure_ascii=False, allow_nan=False)
    (directory / "report.json").write_text(document + "\n", encoding="utf-8")
    path = directory / "report.html"
    path.write_text(page(evidence), encoding="utf-8")
    return path
