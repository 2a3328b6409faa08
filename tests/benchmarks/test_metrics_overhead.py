"""What scraping a live datacenter costs it, of its own processor time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

from tests.benchmarks.launched import Measured, launched

SPAN_S = 30.0
PAIRS = 6
SCRAPE_S = 5.0
REQUIRED = 0.05
ROUNDS = 200


def test_the_demo_scraped_as_prometheus_does() -> None:
    """Equal spans without and with scrapes take turns, so that a drift befalls both alike."""
    with launched("demo") as demo, ExitStack() as stack:
        # Prometheus keeps its connections.
        targets = [
            stack.enter_context(closing(HTTPConnection(urlsplit(url).netloc, timeout=30)))
            for url in demo.state.metrics_urls.values()
        ]
        used_s(demo)  # what a launch leaves to be done
        pages_bytes = sum(map(scrape, targets))
        spans_s = [(used_s(demo), used_s(demo, targets)) for _ in range(PAIRS)]
        round_s = used_by_a_round_s(demo, targets, sum(alone for alone, _ in spans_s))
    left_alone_s, scraped_s = (sum(column) for column in zip(*spans_s, strict=True))
    shares = ", ".join(f"{scraped / alone - 1.0:+.1%}" for alone, scraped in spans_s)
    share, watched_s = scraped_s / left_alone_s - 1.0, PAIRS * SPAN_S
    print(
        f"\n{len(targets)} processes of the demo, {pages_bytes / 1e3:.0f} kB of metrics: "
        f"{left_alone_s / watched_s:.3f} cores left alone, {scraped_s / watched_s:.3f} scraped "
        f"every {SCRAPE_S:g} s, for {watched_s:g} s each"
    )
    print(f"  {share:+.1%} ({shares}), required {REQUIRED:.0%}: ratio {share / REQUIRED:.2f}")
    share = round_s / SCRAPE_S * watched_s / left_alone_s
    print(f"  by {ROUNDS} rounds on end, {round_s * 1e3:.1f} ms each: {share:+.1%}")


def used_s(measured: Measured, targets: Sequence[HTTPConnection] = ()) -> float:
    """Return the processor time of all its processes in a span in which ``targets`` are scraped."""
    before, due_s = measured.cpu_s(), time.perf_counter()
    for _ in range(round(SPAN_S / SCRAPE_S)):
        for target in targets:
            scrape(target)
        due_s += SCRAPE_S
        time.sleep(max(0.0, due_s - time.perf_counter()))
    return sum(after_s - before.get(name, 0.0) for name, after_s in measured.cpu_s().items())


def used_by_a_round_s(
    measured: Measured, targets: Sequence[HTTPConnection], left_alone_s: float
) -> float:
    """Return the processor time of one scrape of all ``targets``: that of many on end, less what
    is used left alone. It is told from what else the machine does, as that of spans hardly is.
    """
    before, began_s = measured.cpu_s(), time.perf_counter()
    for _ in range(ROUNDS):
        for target in targets:
            scrape(target)
    elapsed_s = time.perf_counter() - began_s
    used_s = sum(after_s - before.get(name, 0.0) for name, after_s in measured.cpu_s().items())
    return (used_s - left_alone_s * elapsed_s / (PAIRS * SPAN_S)) / ROUNDS


def scrape(target: HTTPConnection) -> int:
    """Return the size of the page of ``target``."""
    target.request("GET", "/metrics")
    answer = target.getresponse()
    assert answer.status == 200, answer.reason
    return len(answer.read())
