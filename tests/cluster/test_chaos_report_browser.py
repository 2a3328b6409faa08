"""Reports of experiments in a real browser."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cluster.chaos import report
from tests.cluster import chaos_evidence
from tests.cluster.browser import Asked, answers, needs_chromium, understood

pytestmark = needs_chromium

#: The least contrast that WCAG 2 asks of text (level AA).
ENOUGH_CONTRAST = 4.5

#: What the browser made of a colour, over the background of the page, as a ratio of luminances.
CONTRASTS = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const light = (...colours) => {
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((c) =>
      (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = getComputedStyle(document.body).backgroundColor;
  return Object.fromEntries([...document.querySelectorAll(
      "h1, h2 small, dt, dd, .badge, .verdict p, .warnings li, .chips li, .findings p, th, td, code"
    )].map((found) => {
      const behind = found.closest(".verdict, .chips li, pre");
      const ground = [paper, behind ? getComputedStyle(behind).backgroundColor : paper];
      const [a, b] = [light(...ground), light(...ground, getComputedStyle(found).color)];
      return [`${found.tagName} ${found.textContent.slice(0, 20)}`,
        (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    }));
})()"""


CHARTS = """[...document.querySelectorAll("svg[role=img]")].map((picture) =>
  [picture.getAttribute("aria-label"), picture.getBoundingClientRect().width,
   [...picture.querySelectorAll("*")].filter((part) =>
     part.getBoundingClientRect().width > 0).length])"""

BARS = """(() => {
  const plot = document.querySelector(".plot").getBoundingClientRect();
  const fault = document.querySelector(".bar.fault").getBoundingClientRect();
  return [fault.left, fault.right, plot.left, plot.right];
})()"""

WIDTHS = "[innerWidth, document.documentElement.scrollWidth - innerWidth <= 0]"

GROUND = "getComputedStyle(document.body).backgroundColor"

POINTED_AT = """(() => {
  const picture = document.querySelector(".timeline");
  const plot = picture.querySelector(".plot").getBoundingClientRect();
  const clientX = plot.left + plot.width / 4;
  picture.dispatchEvent(new PointerEvent("pointermove", {clientX}));
  return picture.dataset.at;
})()"""

COLOURED = ("violated", "inconclusive", "aborted")
WIDE, WINDOWS = ("crowded", "violated"), (390, 1280)

Key = tuple[str, str, int]  # a report, an expression, the width of the window
Found = Mapping[Key, Any]

IN_EITHER_THEME: list[Key] = [
    *((name, CONTRASTS, 1280) for name in COLOURED),
    ("passed", GROUND, 1280),
]
IN_THE_LIGHT: list[Key] = [
    *IN_EITHER_THEME,
    *(("passed", expression, 1280) for expression in (CHARTS, BARS, POINTED_AT)),
    *((name, WIDTHS, width) for name in WIDE for width in WINDOWS),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every report, written down."""
    folder = tmp_path_factory.mktemp("reports")
    return {name: report.write(make(), folder / name) for name, make in chaos_evidence.ALL.items()}


@pytest.fixture(scope="module")
def light(pages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Found:
    return in_one_browser(IN_THE_LIGHT, pages, tmp_path_factory.mktemp("light"))


@pytest.fixture(scope="module")
def dark(pages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Found:
    return in_one_browser(IN_EITHER_THEME, pages, tmp_path_factory.mktemp("dark"), dark=True)


def in_one_browser(
    keys: list[Key], pages: dict[str, Path], folder: Path, *, dark: bool = False
) -> Found:
    questions = [Asked(pages[name], expression, width) for name, expression, width in keys]
    return dict(zip(keys, answers(questions, folder, dark=dark), strict=True))


def test_every_report_is_understood_without_an_error(
    pages: dict[str, Path], tmp_path: Path
) -> None:
    titles, console = understood(list(pages.values()), tmp_path)
    assert console == []
    assert len(titles) == len(chaos_evidence.ALL)
    assert all(title.endswith("when one host of eight dies?") for title in titles), titles


def test_a_page_that_loads_something_is_noticed(pages: dict[str, Path], tmp_path: Path) -> None:
    text = pages["passed"].read_text(encoding="utf-8")
    loading = tmp_path / "loading.html"
    loading.write_text(text.replace("<main>", '<main><img src="missing.png">'), encoding="utf-8")
    _, console = understood([pages["aborted"], loading], tmp_path)
    assert "Content Security Policy" in "".join(console)


def test_all_charts_are_drawn(light: Found) -> None:
    drawn = light["passed", CHARTS, 1280]
    labels = " ".join(label for label, _, _ in drawn)
    for expected in ("host crash", "cna-03 faulty", "web-01, fenced", "build-02", "had no answer"):
        assert expected in labels
    for expected in ("Latency of 16 clients", "VMs running", "Latency p95", "error: 1"):
        assert expected in labels
    assert all(width > 500 and parts > 0 for _, width, parts in drawn), drawn


def test_bars_lie_where_their_time_is(light: Found) -> None:
    left, right, begin, end = light["passed", BARS, 1280]
    assert (left - begin) / (end - begin) == pytest.approx(20 / 120, abs=0.005)
    assert (right - begin) / (end - begin) == pytest.approx(60 / 120, abs=0.005)


@pytest.mark.parametrize("width", WINDOWS)
@pytest.mark.parametrize("name", WIDE)
def test_nothing_is_wider_than_the_window(light: Found, name: str, width: int) -> None:
    assert light[name, WIDTHS, width] == [width, True]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", COLOURED)
def test_text_stands_out(name: str, theme: str, request: pytest.FixtureRequest) -> None:
    contrasts = request.getfixturevalue(theme)[name, CONTRASTS, 1280]
    assert len(contrasts) > 20
    assert {text: ratio for text, ratio in contrasts.items() if ratio < ENOUGH_CONTRAST} == {}


def test_the_dark_theme_is_dark(light: Found, dark: Found) -> None:
    grounds = [found["passed", GROUND, 1280] for found in (light, dark)]
    bright, dim = ([int(part) for part in re.findall(r"\d+", each)] for each in grounds)
    assert min(bright) > 240
    assert max(dim) < 40


def test_the_pointer_shows_its_instant(light: Found) -> None:
    assert light["passed", POINTED_AT, 1280] == "30.0s"
