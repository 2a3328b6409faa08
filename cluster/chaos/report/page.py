"""The report of one experiment: a page that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files

from cluster.chaos.report.blast import blast_radius
from cluster.chaos.report.elements import Child, Markup, element, joined
from cluster.chaos.report.findings import findings, measures, summary, verdict, warnings
from cluster.chaos.report.phases import stacked
from cluster.chaos.report.tables import tables
from cluster.chaos.report.timeline import axis_of, timeline
from fusion.experiment.evidence import Evidence
from fusion.experiment.words import JUDGEMENTS, counted


def page(evidence: Evidence) -> Markup:
    """Return the report of ``evidence``; the same evidence gives the same bytes."""
    experiment, run = evidence.experiment, evidence.run
    title = f"{JUDGEMENTS[evidence.verdict.judgement]}: {experiment.question}"
    recovered = counted(len(run.recoveries), "VM")
    return document(
        title,
        verdict(evidence),
        warnings(evidence),
        measures(evidence),
        section("Findings", findings(evidence), summary(evidence))
        if evidence.verdict.findings
        else None,
        section("What happened when", timeline(evidence, axis_of(evidence))),
        section("How each VM came back", stacked(run.recoveries), recovered)
        if run.recoveries
        else None,
        section("Blast radius", blast_radius(evidence.blast)),
        section("In detail", tables(evidence)),
        section("To repeat it", provenance(evidence.command, _facts(evidence))),
    )


def document(title: str, *content: Child) -> Markup:
    """Return a page with the style and the script of all reports, which loads nothing else."""
    style, script = _resource("page.css"), _resource("cursor.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return Markup(
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"{element('title', title)}<style>{style}</style></head>\n"
        f"<body>{element('main', *content)}<script>{script}</script></body></html>\n"
    )


def section(title: str, content: Child, note: str = "") -> Markup:
    heading = element("h2", title, element("small", note) if note else None)
    return element("section", heading, content, aria_label=title)


def provenance(command: str, facts: Mapping[str, str]) -> Markup:
    """Return the command that repeats what was done, and what its outcome depends on."""
    told = [
        element("div", element("dt", name), element("dd", fact)) for name, fact in facts.items()
    ]
    return joined(
        [
            element("pre", element("code", command), tabindex="0"),
            element("dl", told, class_="provenance"),
        ]
    )


def _facts(evidence: Evidence) -> dict[str, str]:
    digest = {"Digest of the trace": evidence.digest} if evidence.digest else {}
    sources = evidence.experiment.sources.items()
    return {
        "Seed": str(evidence.seed),
        "World": str(evidence.world),
        **digest,
        **evidence.versions,
        **{f"SHA-256 of {name}": sha for name, sha in sources},
    }


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
