"""Reports of experiments under many seeds."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.chaos import report
from cluster.chaos.report.axis import ValueAxis
from cluster.chaos.report.many import many_json, many_page
from fusion.experiment.words import Key
from tests.cluster import chaos_trials
from tests.cluster.browser import evaluated, needs_chromium, opened
from tests.cluster.test_chaos_report import read

HISTOGRAMS = """[...document.querySelectorAll(".picture svg[role=img]")].map((picture) =>
  [...picture.querySelectorAll("rect.bar title")].reduce((sum, title) =>
    sum + parseInt(title.textContent.split(": ")[1]), 0)).filter((sum) => sum)"""


class TestThePage:
    def test_of_one_experiment_asks_its_question_and_names_seeds_to_look_at(self) -> None:
        words = read(many_page(chaos_trials.alone()))
        assert "What happens to my services when one host of eight dies?" in words
        assert "196 pass" in words
        assert "1 inconclusive" in words
        assert re.search(r"Did not pass under seeds (\d+, ){3}\d+\.", words)
        assert "Differences" not in words

    def test_of_two_compares_them(self) -> None:
        campaign = chaos_trials.compared()
        words = read(many_page(campaign))
        assert "What differs: fixed-detector or phi-detector?" in words
        assert "phi-detector less fixed-detector" in words
        assert campaign.command in words
        for difference in campaign.differences:
            shown = Key.parsed(difference.key).shown_difference
            assert shown(difference.mean) in words
            assert f"{shown(difference.interval.low)} to {shown(difference.interval.high)}" in words

    def test_draws_what_varies_and_lists_the_rest(self) -> None:
        markup = many_page(chaos_trials.alone())
        titles = re.findall(r'<div class="spread"><h3>([^<]*)', markup)
        assert titles == ["RTO", "Longest gap of web-*", "Availability"]
        assert "Lost durable entries" in read(markup)

    def test_is_the_same_for_the_same_outcomes(self) -> None:
        assert many_page(chaos_trials.compared()) == many_page(chaos_trials.compared())

    def test_of_seeds_of_which_nothing_is_known(self) -> None:
        campaign = chaos_trials.alone()
        empty = replace(campaign, trials=(replace(campaign.trials[0], distributions=()),))
        assert "196 pass" in read(many_page(empty))

    def test_escapes_the_names_of_experiments(self) -> None:
        campaign = chaos_trials.alone()
        harmful = "<img src=x>"
        named = replace(campaign, trials=(replace(campaign.trials[0], name=harmful),))
        assert "<img" not in many_page(named)
        assert harmful in read(many_page(named))


class TestTheJson:
    def test_is_strict_and_whole(self, tmp_path: Path) -> None:
        campaign = chaos_trials.compared()
        path = report.write_many(campaign, tmp_path)
        document = json.loads(path.with_name("report.json").read_text(encoding="utf-8"))
        assert document == json.loads(json.dumps(many_json(campaign), allow_nan=False))
        assert document["trials"][0]["judgements"]["17"] == "inconclusive"
        rto = document["trials"][1]["distributions"][0]
        assert rto["key"] == "rto_s"
        assert len(rto["values"]) == 200
        assert document["differences"][0]["interval"]["low"] > 1.0


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_every_seed_is_in_every_histogram_in_any_window(width: int, tmp_path: Path) -> None:
    path = report.write_many(chaos_trials.compared(), tmp_path)
    overflow = "document.documentElement.scrollWidth - innerWidth"
    counts, over = evaluated(path, f"[{HISTOGRAMS}, {overflow}]", width=width, dark=width == 390)
    assert counts == [200] * (3 + 3 * 2)
    assert over <= 0


@needs_chromium
def test_the_browser_understands_it(tmp_path: Path) -> None:
    assert opened(report.write_many(chaos_trials.compared(), tmp_path)).console == []


class TestValues:
    @pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.3, 4.7), (12.2, 12.3), (0.0, 9e6)])
    def test_ticks_are_round_and_within(self, low: float, high: float) -> None:
        ticks = [value for value, _ in ValueAxis(low, high, str).ticks()]
        assert 2 <= len(ticks) <= 7
        assert low <= ticks[0] < ticks[-1] <= high
        assert all(len(f"{value:.12g}".replace(".", "").strip("-0")) <= 4 for value in ticks)

    def test_differences_have_a_sign_and_shares_differ_by_points(self) -> None:
        assert Key("rto_s").shown_difference(2.0) == "+2s"
        assert Key("rto_s").shown_difference(-0.25) == "−250ms"
        assert Key("availability").shown_difference(-0.002) == "−0.2 points"
        assert Key("errors").shown_difference(0.0) == "0 requests"
