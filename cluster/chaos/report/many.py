"""The report of experiments under many seeds, one alone or several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cluster.chaos.report.document import plain
from cluster.chaos.report.elements import Markup, element
from cluster.chaos.report.page import document, provenance, section
from cluster.chaos.report.spread import (
    Spread,
    difference_picture,
    interval_words,
    spread_picture,
    varies,
)
from cluster.chaos.report.tables import Cells, grid
from fusion.experiment.evidence import Judgement
from fusion.experiment.figures import FIGURES
from fusion.experiment.statistics import CONFIDENCE, Difference, Distribution
from fusion.experiment.words import JUDGEMENTS, Key, counted

FORMAT = "fusion-chaos-seeds/1"

_MOST_PICTURES = 16
_MOST_SEEDS_NAMED = 20

_PERCENTILES = {0: "#Least", 1: "#p1", 50: "#p50", 99: "#p99", 100: "#Most"}

#: Figures that are asked for first.
_FIRST = ("rto_s", "longest_gap_s", "availability", "lost_durable_entries", "detection_s")


@dataclass(frozen=True, slots=True)
class Trials:
    """What one experiment came to under many seeds: its judgements by seed, and every figure."""

    name: str
    question: str
    judgements: Mapping[int, Judgement]
    distributions: tuple[Distribution, ...]


@dataclass(frozen=True, slots=True)
class Campaign:
    """Several experiments, or one, under the same seeds; ``differences`` are from the first."""

    trials: tuple[Trials, ...]
    command: str  # that repeats it
    differences: tuple[Difference, ...] = ()
    versions: Mapping[str, str] | None = None


def many_page(campaign: Campaign) -> Markup:
    """Return the report of ``campaign``; the same gives the same bytes."""
    trials = campaign.trials
    names = " or ".join(dict.fromkeys(each.name for each in trials))
    question = trials[0].question if len(trials) == 1 else f"What differs: {names}?"
    seeds = len({seed for each in trials for seed in each.judgements})
    drawn = _drawn(trials)
    means = f"bands: the mean lies there with {CONFIDENCE * 100:g} %"
    return document(
        question,
        element(
            "header",
            element("p", f"Chaos experiments under {counted(seeds, 'seed')}", class_="kicker"),
            element("h1", question),
        ),
        section("Verdicts", [_verdicts(each) for each in trials]),
        _differences(campaign),
        section("Distributions", [_figure(key, trials) for key in drawn], means) if drawn else None,
        section("All figures", _table(trials)),
        section("To repeat it", provenance(campaign.command, campaign.versions or {})),
    )


def many_json(campaign: Campaign) -> dict[str, Any]:
    """Return ``campaign`` as a JSON document (docs/chaos-report.md)."""
    document: dict[str, Any] = plain({"format": FORMAT, **asdict(campaign)})
    return document


def _verdicts(trials: Trials) -> Markup:
    """Return how often the experiment came to what, as one bar, and the seeds to look at."""
    judged = list(trials.judgements.values())
    counts = {each: judged.count(each) for each in Judgement if each in judged}
    bar = [
        element("span", f"{count} {JUDGEMENTS[each].lower()}", class_=each, style=f"flex: {count}")
        for each, count in counts.items()
    ]
    troubled = [s for s, each in sorted(trials.judgements.items()) if each is not Judgement.PASS]
    named = ", ".join(map(str, troubled[:_MOST_SEEDS_NAMED]))
    left_out = len(troubled) - _MOST_SEEDS_NAMED
    more = f" and {left_out} more" if left_out > 0 else ""
    return element(
        "div",
        element("h3", trials.name, element("small", trials.question)),
        element("div", bar, class_="shares"),
        element("p", f"Did not pass under seeds {named}{more}.", class_="note")
        if troubled
        else None,
        class_="judged",
    )


def _drawn(trials: Sequence[Trials]) -> list[str]:
    """Return the keys of figures that vary, those first that are asked for first."""
    keys = dict.fromkeys(each.key for trial in trials for each in trial.distributions)
    varying = [key for key in keys if varies(_spreads(key, trials))]
    order = {figure: rank for rank, figure in enumerate((*_FIRST, *FIGURES))}
    ranked = sorted(varying, key=lambda key: order.get(Key.parsed(key).figure, len(order)))
    return ranked[:_MOST_PICTURES]


def _spreads(key: str, trials: Sequence[Trials]) -> list[Spread]:
    return [
        Spread(trial.name, each.values, each.mean, each.interval)
        for trial in trials
        for each in trial.distributions
        if each.key == key
    ]


def _figure(key: str, trials: Sequence[Trials]) -> Markup:
    parsed = Key.parsed(key)
    heading = element("h3", parsed.title, element("small", parsed.meaning))
    return element("div", heading, spread_picture(parsed, _spreads(key, trials)), class_="spread")


def _differences(campaign: Campaign) -> Markup | None:
    differences = campaign.differences
    if not differences:
        return None
    drawn = [each for each in differences if any(each.values)][:_MOST_PICTURES]
    names = [each.name for each in campaign.trials]
    rows: list[Cells] = [
        (
            (key := Key.parsed(each.key)).title,
            f"{each.other} less {each.base}",
            str(len(each.seeds)),
            key.shown_difference(each.mean),
            interval_words(key.shown_difference, each.interval),
            "yes" if each.told_apart else "no",
        )
        for each in differences
    ]
    headings = ("Figure", "Difference", "#Seeds", "#Mean", "#Interval", "Told apart")
    return section(
        "Differences, seed by seed",
        [
            [_difference(each, names.index(each.other)) for each in drawn],
            element("h3", "All of them"),
            grid("Differences", headings, rows),
        ],
    )


def _difference(difference: Difference, number: int) -> Markup:
    key = Key.parsed(difference.key)
    found = "differs" if difference.told_apart else "cannot be told apart"
    name = f"{difference.other} less {difference.base}"
    spread = Spread(name, difference.values, difference.mean, difference.interval)
    heading = element("h3", key.title, element("small", found))
    return element("div", heading, difference_picture(key, spread, number), class_="spread")


def _table(trials: Sequence[Trials]) -> Markup:
    rows: list[Cells] = []
    keys = dict.fromkeys(each.key for trial in trials for each in trial.distributions)
    for key in keys:
        shown = Key.parsed(key).shown
        rows += [
            (
                Key.parsed(key).title,
                trial.name,
                str(len(each.seeds)),
                shown(each.mean),
                interval_words(shown, each.interval),
                *(shown(each.percentile(percent)) for percent in _PERCENTILES),
            )
            for trial in trials
            for each in trial.distributions
            if each.key == key
        ]
    headings = ("Figure", "Experiment", "#Seeds", "#Mean", "#Interval", *_PERCENTILES.values())
    return grid("All figures", headings, rows)
