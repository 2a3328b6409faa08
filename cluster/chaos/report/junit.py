"""Verdicts as JUnit XML, for CI: a suite an experiment, a case a finding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from fusion.experiment.evidence import Evidence, Judgement
from fusion.experiment.spec import Hypothesis

#: What XML 1.0 cannot say.
_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(evidences: Sequence[Evidence]) -> str:
    """Return the document; what is inconclusive or aborted is an error: it stops a build."""
    suites = Element("testsuites")
    for evidence in evidences:
        suites.append(_suite(evidence))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _suite(evidence: Evidence) -> Element:
    verdict = evidence.verdict
    judged = [verdict.judgement, *(finding.judgement for finding in verdict.findings)]
    fails = judged.count(Judgement.FAIL)
    passes = judged.count(Judgement.PASS)
    suite = Element(
        "testsuite",
        name=_text(f"{evidence.experiment.name}[{evidence.world}, seed {evidence.seed}]"),
        tests=str(len(judged)),
        failures=str(fails),
        errors=str(len(judged) - fails - passes),
        time=f"{evidence.experiment.duration_s:g}",
    )
    properties = SubElement(suite, "properties")
    for name in ("command", "digest"):
        SubElement(properties, "property", name=name, value=_text(getattr(evidence, name)))
    _case(suite, evidence, "verdict", verdict.judgement, verdict.why)
    for finding in verdict.findings:
        of = finding.of
        name = f"{of.name}: {of.condition}" if isinstance(of, Hypothesis) else str(of)
        _case(suite, evidence, name, finding.judgement, finding.sentence)
    return suite


def _case(
    suite: Element, evidence: Evidence, name: str, judgement: Judgement, sentence: str
) -> None:
    case = SubElement(
        suite, "testcase", classname=_text(f"chaos.{evidence.experiment.name}"), name=_text(name)
    )
    if judgement is Judgement.PASS:
        return
    outcome = "failure" if judgement is Judgement.FAIL else "error"
    SubElement(case, outcome, type=str(judgement), message=_text(sentence))


def _text(text: str) -> str:
    return _UNSPEAKABLE.sub("\ufffd", text)
