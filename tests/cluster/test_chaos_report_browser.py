"""Reports of experiments in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cluster.chaos import report
from tests.cluster import chaos_evidence
from tests.cluster.browser import evaluated, needs_chromium, opened

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


@pytest.mark.parametrize("name", chaos_evidence.ALL)
def test_every_report_is_understood_without_an_error(name: str, tmp_path: Path) -> None:
    page = opened(report.write(chaos_evidence.ALL[name](), tmp_path))
    assert page.console == []
    assert "when one host of eight dies?</title>" in page.dom


def test_a_page_that_loads_something_is_noticed(tmp_path: Path) -> None:
    path = report.write(chaos_evidence.passed(), tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("<main>", '<main><img src="missing.png">'), encoding="utf-8")
    assert "Content Security Policy" in "".join(opened(path).console)


def test_all_charts_are_drawn(tmp_path: Path) -> None:
    path = report.write(chaos_evidence.passed(), tmp_path)
    drawn = evaluated(
        path,
        """[...document.querySelectorAll("svg[role=img]")].map((picture) =>
          [picture.getAttribute("aria-label"), picture.getBoundingClientRect().width,
           [...picture.querySelectorAll("*")].filter((part) =>
             part.getBoundingClientRect().width > 0).length])""",
    )
    labels = " ".join(label for label, _, _ in drawn)
    for expected in ("host crash", "cna-03 faulty", "web-01, fenced", "build-02", "had no answer"):
        assert expected in labels
    for expected in ("Latency of 16 clients", "VMs running", "Latency p95", "error: 1"):
        assert expected in labels
    assert all(width > 500 and parts > 0 for _, width, parts in drawn), drawn


def test_bars_lie_where_their_time_is(tmp_path: Path) -> None:
    path = report.write(chaos_evidence.passed(), tmp_path)
    left, right, begin, end = evaluated(
        path,
        """(() => {
          const plot = document.querySelector(".plot").getBoundingClientRect();
          const fault = document.querySelector(".bar.fault").getBoundingClientRect();
          return [fault.left, fault.right, plot.left, plot.right];
        })()""",
    )
    assert (left - begin) / (end - begin) == pytest.approx(20 / 120, abs=0.005)
    assert (right - begin) / (end - begin) == pytest.approx(60 / 120, abs=0.005)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["crowded", "violated"])
def test_nothing_is_wider_than_the_window(name: str, width: int, tmp_path: Path) -> None:
    path = report.write(chaos_evidence.ALL[name](), tmp_path)
    widths = "[innerWidth, document.documentElement.scrollWidth - innerWidth <= 0]"
    assert evaluated(path, widths, width=width) == [width, True]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["violated", "inconclusive", "aborted"])
def test_text_stands_out(name: str, dark: bool, tmp_path: Path) -> None:
    path = report.write(chaos_evidence.ALL[name](), tmp_path)
    contrasts = evaluated(path, CONTRASTS, dark=dark)
    assert len(contrasts) > 20
    assert {text: ratio for text, ratio in contrasts.items() if ratio < ENOUGH_CONTRAST} == {}


def test_the_dark_theme_is_dark(tmp_path: Path) -> None:
    path = report.write(chaos_evidence.passed(), tmp_path)
    colour = "getComputedStyle(document.body).backgroundColor"
    grounds = [evaluated(path, colour, dark=dark) for dark in (False, True)]
    light, dark = ([int(part) for part in re.findall(r"\d+", each)] for each in grounds)
    assert min(light) > 240
    assert max(dark) < 40


def test_the_pointer_shows_its_instant(tmp_path: Path) -> None:
    path = report.write(chaos_evidence.passed(), tmp_path)
    instant = evaluated(
        path,
        """(() => {
          const picture = document.querySelector(".timeline");
          const plot = picture.querySelector(".plot").getBoundingClientRect();
          const clientX = plot.left + plot.width / 4;
          picture.dispatchEvent(new PointerEvent("pointermove", {clientX}));
          return picture.dataset.at;
        })()""",
    )
    assert instant == "30.0s"
