"""What clients saw in a run, by every request of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cluster.chaos.looks import Requests
from cluster.rpc.v1 import service_pb2
from fusion.arrays import Floats, Ints
from fusion.experiment.evidence import ClientSeen
from fusion.spec import ClientSpec

#: Latencies that are kept of each client: the largest of as many stretches of time.
MOST_LATENCIES = 240

ReadBack = Mapping[str, service_pb2.ReadClientsReply.Client]


def clients_seen(
    clients: Sequence[ClientSpec],
    requests: Requests,
    zero_s: float,
    lasts_s: float,
    read_back: ReadBack,
) -> tuple[ClientSeen, ...]:
    """Return what each client saw in a run of ``lasts_s`` that began at the gateway's ``zero_s``.

    ``read_back`` has those whose ledgers were read at the end, by name.
    """
    order = np.argsort(requests.client, kind="stable")
    bounds = np.searchsorted(requests.client[order], np.arange(len(clients) + 1)).tolist()
    seen = []
    for row, spec in enumerate(clients):
        ours = requests.rows(order[bounds[row] : bounds[row + 1]])
        seen.append(_seen(spec, ours, zero_s, lasts_s, read_back.get(spec.name)))
    return tuple(seen)


def _seen(
    spec: ClientSpec,
    requests: Requests,
    zero_s: float,
    lasts_s: float,
    ledger: service_pb2.ReadClientsReply.Client | None,
) -> ClientSeen:
    ended_s = requests.ended_s[requests.answered] - zero_s
    points_s = np.concatenate(([0.0], ended_s, [max(lasts_s, ended_s[-1] if len(ended_s) else 0)]))
    gaps_s = np.diff(points_s)
    long = np.flatnonzero(gaps_s > spec.every_s + spec.time_limit_s)
    return ClientSeen(
        name=spec.name,
        vm=spec.vm,
        requests=len(requests.client),
        answered=len(ended_s),
        longest_gap_s=float(gaps_s.max()),
        gaps=tuple((float(points_s[k]), float(points_s[k + 1])) for k in long.tolist()),
        latencies=_thinned(ended_s, requests.latency_s),
        lost=ledger.lost if ledger is not None else 0,
        lost_durable=ledger.lost_durable if ledger is not None else 0,
        lost_reach_s=ledger.lost_reach_s if ledger is not None else 0.0,
    )


def _thinned(at_s: Floats, latency_s: Floats) -> tuple[tuple[float, float], ...]:
    """Return the largest latency of each of so many stretches: peaks are what matters."""
    kept: Ints | slice = slice(None)
    if len(at_s) > MOST_LATENCIES:
        each, longer = divmod(len(at_s), MOST_LATENCIES)
        stretches = np.arange(MOST_LATENCIES)
        first = stretches * each + np.minimum(stretches, longer)
        stretch = np.searchsorted(first, np.arange(len(at_s)), side="right")
        kept = np.lexsort((-latency_s, stretch))[first]  # the slowest comes first in each
    pairs = zip(at_s[kept].tolist(), latency_s[kept].tolist(), strict=True)
    return tuple((round(at, 4), round(latency, 6)) for at, latency in pairs)
