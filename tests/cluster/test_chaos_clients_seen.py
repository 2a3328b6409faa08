"""What is kept of the requests of a client: all latencies of a few, the slowest of many."""

import numpy as np

from cluster.chaos.clients_seen import MOST_LATENCIES, clients_seen
from cluster.chaos.looks import Requests
from fusion.arrays import Floats
from fusion.spec import ClientSpec

ZERO_S = 5.0


def kept(latency_s: Floats) -> tuple[tuple[float, float], ...]:
    """Return the latencies that are kept of a client whose every request was answered, one each
    second.
    """
    ended_s = ZERO_S + np.arange(len(latency_s))
    sent_s = ended_s - latency_s
    count = len(latency_s)
    requests = Requests.of([0] * count, sent_s.tolist(), ended_s.tolist(), [True] * count)
    spec = ClientSpec(name="client", vm="vm")
    (seen,) = clients_seen([spec], requests, ZERO_S, float(len(latency_s)), {})
    return seen.latencies


def test_all_latencies_of_a_few_requests_are_kept_in_their_order() -> None:
    latency_s = np.linspace(0.5, 0.25, MOST_LATENCIES)
    assert kept(latency_s) == tuple(
        (float(at_s), round(each, 6)) for at_s, each in enumerate(latency_s.tolist())
    )


def test_of_many_the_slowest_of_each_stretch_is_kept() -> None:
    latency_s = np.random.default_rng(1).permutation(4 * MOST_LATENCIES + 7) / 4096
    stretches = np.array_split(np.arange(len(latency_s)), MOST_LATENCIES)
    slowest = [int(part[latency_s[part].argmax()]) for part in stretches]
    assert kept(latency_s) == tuple((float(k), round(float(latency_s[k]), 6)) for k in slowest)


def test_who_was_never_answered_has_no_latencies() -> None:
    assert kept(np.zeros(0)) == ()
