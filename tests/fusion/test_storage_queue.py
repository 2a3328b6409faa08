"""Operations queue for the channels of an array: first come, first served."""

from __future__ import annotations

import math

import pytest

from fusion import seeds
from fusion.storage.queue import RECENT_S, Load, ServiceQueue


@pytest.mark.parametrize(
    ("channels", "operations", "finish_s"),
    [
        # each: (arrival, service), seconds
        pytest.param(1, [(0, 2), (1, 2), (5, 1)], [2, 4, 6], id="one after the other"),
        pytest.param(2, [(0, 4), (0, 1), (0, 1), (0, 1)], [4, 1, 2, 3], id="past a slow one"),
        pytest.param(2, [(0, 3), (0, 3), (1, 1), (1, 1)], [3, 3, 4, 4], id="all busy"),
        pytest.param(3, [(0, 0), (0, 0), (2, 5)], [0, 0, 7], id="nothing to do"),
    ],
)
def test_each_takes_the_channel_that_is_free_first(
    channels: int, operations: list[tuple[float, float]], finish_s: list[float]
) -> None:
    queue = ServiceQueue(channels, up_s=0.0)
    assert [queue.admit(now_s, service_s) for now_s, service_s in operations] == finish_s
    assert queue.operations == len(operations)
    assert queue.service_s == sum(service_s for _, service_s in operations)
    assert queue.wait_s == sum(
        finish - now_s - service_s
        for finish, (now_s, service_s) in zip(finish_s, operations, strict=True)
    )


def erlang_c(channels: int, load: float) -> float:
    """Return the probability that an arrival waits; ``load`` is λ/μ in Erlang.

    Kleinrock, Queueing Systems I (1975), equation 3.40.
    """
    idle = load**channels / math.factorial(channels) * channels / (channels - load)
    return idle / (sum(load**k / math.factorial(k) for k in range(channels)) + idle)


@pytest.mark.parametrize(("channels", "utilisation"), [(1, 0.5), (4, 0.7), (10, 0.7)])
def test_the_mean_wait_of_poisson_arrivals_is_erlangs(channels: int, utilisation: float) -> None:
    service_s, count = 0.0005, 100_000
    rate_hz = utilisation * channels / service_s
    random = seeds.generator(7, "queue")
    arrivals_s = random.exponential(1.0 / rate_hz, count).cumsum().tolist()
    queue = ServiceQueue(channels, up_s=0.0)
    for now_s, each_s in zip(
        arrivals_s, random.exponential(service_s, count).tolist(), strict=True
    ):
        queue.admit(now_s, each_s)
    waits = erlang_c(channels, utilisation * channels)
    expected_s = waits * service_s / (channels * (1.0 - utilisation))
    assert queue.wait_s / count == pytest.approx(expected_s, rel=0.1)
    load = queue.load(arrivals_s[-1])
    assert load.utilisation == pytest.approx(utilisation, rel=0.05)
    assert load.mean_service_s == pytest.approx(service_s, rel=0.05)


def test_an_array_that_had_nothing_to_do_is_idle() -> None:
    queue = ServiceQueue(2, up_s=5.0)
    assert queue.load(5.0) == queue.load(99.0) == Load(0.0, 0.0, 0.0)


def test_what_is_long_ago_is_forgotten() -> None:
    queue = ServiceQueue(1, up_s=0.0)
    for second in range(200):
        queue.admit(second, 0.5)
    assert queue.load(200.0).utilisation == pytest.approx(0.5, rel=0.02)
    assert queue.load(200.0 + 3 * RECENT_S).utilisation == pytest.approx(0.5 / math.e**3, rel=0.1)
    for second in range(400, 600):
        queue.admit(second, 0.1)
    assert queue.load(600.0).mean_service_s == pytest.approx(0.1, rel=0.02)


def test_a_backlog_keeps_it_busy_until_it_is_worked_off() -> None:
    queue = ServiceQueue(1, up_s=0.0)
    for second in range(100):
        queue.admit(second, 3.0)
    for now_s in (30.0, 99.0, 300.0):
        load = queue.load(now_s)
        assert load.utilisation == pytest.approx(1.0, rel=0.03)
        assert load.mean_service_s == pytest.approx(3.0)
        assert queue.busy(now_s - 0.5) == 1
    assert queue.busy(300.0) == 0
    assert load.mean_wait_s > 100.0  # 0, 2, … 198 s, of which the last count most
    assert queue.load(360.0).utilisation == pytest.approx(1.0 / math.e, rel=0.03)


def test_channels_are_busy_until_they_are_through() -> None:
    queue = ServiceQueue(3, up_s=0.0)
    for service_s in (2.0, 5.0):
        queue.admit(1.0, service_s)
    assert [queue.busy(now_s) for now_s in (1.0, 3.0, 5.9, 6.0)] == [2, 1, 1, 0]
