"""Reports of experiments: a page for people, JSON for programs, JUnit for CI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from cluster.chaos.report.document import to_json
from cluster.chaos.report.junit import junit
from cluster.chaos.report.many import Campaign, Trials, many_json, many_page
from cluster.chaos.report.page import page
from fusion.experiment.evidence import Evidence

__all__ = ["Campaign", "Trials", "junit", "many_json", "to_json", "write", "write_many"]


def write(evidence: Evidence, directory: Path) -> Path:
    """Write ``report.html`` and ``report.json`` to ``directory``; returns the path of the page."""
    return _written(page(evidence), to_json(evidence), directory)


def write_many(campaign: Campaign, directory: Path) -> Path:
    """Write the same two files for experiments under many seeds."""
    return _written(many_page(campaign), many_json(campaign), directory)


def _written(markup: str, document: Mapping[str, object], directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    (directory / "report.json").write_text(text + "\n", encoding="utf-8")
    path = directory / "report.html"
    path.write_text(markup, encoding="utf-8")
    return path
