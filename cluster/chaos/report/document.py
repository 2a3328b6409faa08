"""The report as JSON, for programs."""

from __future__ import annotations

import math
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from fusion.experiment.evidence import EXIT_CODES, Evidence
from fusion.experiment.moments import alarmed_after_s, alerted_after_s, recovered_after_s

FORMAT = "fusion-chaos-report/1"


def to_json(evidence: Evidence) -> dict[str, Any]:
    """Return ``evidence`` as a JSON document (docs/chaos-report.md), its verdict first."""
    verdict = evidence.verdict
    facts = asdict(evidence)
    findings = facts.pop("verdict")["findings"]
    return {
        "format": FORMAT,
        "verdict": str(verdict.judgement),
        "exit_code": EXIT_CODES[verdict.judgement],
        "why": verdict.why,
        "alarmed_after_s": alarmed_after_s(evidence.run),
        "alerted_after_s": alerted_after_s(evidence.run),
        "recovered_after_s": recovered_after_s(evidence.run),
        "findings": plain(findings),
        **plain(facts),
    }


def plain(value: Any) -> Any:
    """Return ``value`` in the types of JSON, which knows no infinity."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
