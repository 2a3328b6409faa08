"""The blast radius: what the faults might strike by the plan, and what was seen to suffer."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.chaos.report.elements import Markup, element
from fusion.experiment.evidence import BlastRadius
from fusion.experiment.words import counted

_MOST = 60  # of each kind


def blast_radius(blast: BlastRadius) -> Markup:
    """Return the planned and the actual one, laid over each other."""
    planned, actual, carried = set(blast.planned), set(blast.actual), set(blast.carried)
    both = [name for name in blast.planned if name in actual]
    spared = [name for name in blast.planned if name not in actual]
    with_hosts = [name for name in blast.actual if name in carried - planned]
    beyond = [name for name in blast.actual if name not in carried | planned]
    return element(
        "div",
        _part("Planned, and struck", "struck", both),
        _part("Struck with their hosts", "carried", with_hosts) if with_hosts else None,
        _part("Planned, and spared", "spared", spared),
        _part("Struck beyond the plan", "beyond", beyond),
        class_="blast",
    )


def _part(title: str, style: str, names: Sequence[str]) -> Markup:
    chips = [element("li", name) for name in names[:_MOST]]
    if len(names) > _MOST:
        chips.append(element("li", f"and {counted(len(names) - _MOST, 'other')}", class_="more"))
    return element(
        "section",
        element("h3", title, element("small", str(len(names)))),
        element("ul", chips, class_=f"chips {style}") if chips else element("p", "none"),
    )
