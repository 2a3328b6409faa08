"""Experiments of faults drawn at random, as files that can be run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cluster.chaos.file.contradictions import contradicting, overlap
from fusion.experiment.selection import Parties, Role, passes_by_itself, struck_by
from fusion.experiment.spec import PlannedFault, Selector
from fusion.faults.schedule import (
    Cut,
    FaultKind,
    Filled,
    Flap,
    Impaired,
    Load,
    MemoryHog,
    Narrow,
    OfLinks,
    Parameters,
)
from fusion.seeds import generator
from fusion.spec import Datacenter

#: How long faults last: log-normal, within these bounds.
MEDIAN_S, SIGMA, LEAST_S, MOST_S = 15.0, 0.7, 3.0, 60.0

#: The last part of an experiment is without faults, so that one can see whether all gets well.
REST_S, REST_SHARE = 120.0, 0.3

#: What contradicts what was drawn before is drawn again so often, and then left out.
TRIES = 10

_PARAMETERS: dict[FaultKind, tuple[Parameters, dict[str, Any]]] = {
    FaultKind.PARTITION: (Cut(peers=()), {}),
    FaultKind.SLOW_LINK: (
        Impaired(peers=(), latency_s=0.3, jitter_s=0.1),
        {"latency": "300ms", "jitter": "100ms"},
    ),
    FaultKind.LOSSY_LINK: (
        Impaired(peers=(), loss=0.2, duplication=0.1),
        {"loss": "20%", "duplication": "10%"},
    ),
    FaultKind.LOAD_BURST: (Load(percent=60.0), {"percent": 60}),
    FaultKind.BANDWIDTH: (Narrow(peers=(), bandwidth_bps=1e6), {"bandwidth": "1Mbit/s"}),
    FaultKind.FLAPPING: (Flap(peers=(), down_s=2.0, up_s=4.0), {"down": "2s", "up": "4s"}),
    FaultKind.FULL_DATASTORE: (Filled(), {}),
    FaultKind.GUEST_MEMORY_HOG: (MemoryHog(rate_bytes_s=1e9), {"rate": "1GB/s"}),
}

#: What is drawn, each as likely.
KINDS = (
    FaultKind.HOST_CRASH,
    FaultKind.HOST_HANG,
    FaultKind.VRM_CRASH,
    FaultKind.ARRAY_CRASH,
    FaultKind.GUEST_CRASH,
    *_PARAMETERS,
    FaultKind.ARRAY_HANG,
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: faults every ``every_s`` on average, for ``for_s``, from ``seed``."""

    source: str  # a scenario, or the path of a datacenter file
    is_file: bool
    for_s: float
    every_s: float
    seed: int


def tree_of(wish: Wish, datacenter: Datacenter) -> dict[str, Any]:
    """Return an experiment file of random faults in ``datacenter``, as YAML carries it."""
    faults = drawn(wish, Parties.of(datacenter))
    expectations = ["violations == 0"]
    if datacenter.clients:
        expectations.append("lost_durable_entries == 0")
    return {
        "experiment": f"random-{wish.seed}",
        "question": f"What is left of my services after the faults that seed {wish.seed} brings?",
        "datacenter" if wish.is_file else "scenario": wish.source,
        "seed": wish.seed,
        "settle": "10s",
        "duration": f"{wish.for_s:g}s",
        "look": f"{max(1.0, wish.for_s / 1000):g}s",
        "faults": [_entry(fault) for fault in faults],
        "hypotheses": [
            {"name": "all VMs run", "that": "vms_running_share >= 100%", "when": "edge"},
            {"name": "no host is faulty", "that": "hosts_faulty == 0", "when": "edge"},
        ],
        "expectations": expectations,
    }


def drawn(wish: Wish, parties: Parties) -> list[PlannedFault]:
    """Return faults at exponential distances, none of which contradicts another."""
    rng = generator(wish.seed, "random experiment")
    until_s = wish.for_s - min(REST_S, REST_SHARE * wish.for_s)
    kinds = [kind for kind in KINDS if parties.all_of(struck_by(kind))]
    faults: list[PlannedFault] = []
    at_s = float(rng.exponential(wish.every_s))
    while at_s < until_s:
        for _ in range(TRIES):
            fault = _one(len(faults) + 1, kinds, parties, rng)
            lasts_s = min(fault.lasts_s, until_s - at_s + 1)
            fault = replace(fault, at_s=round(at_s, 1), lasts_s=round(lasts_s, 1))
            if not _contradicts(fault, faults, parties):
                faults.append(fault)
                break
        at_s += float(rng.exponential(wish.every_s))
    return faults


def _one(
    number: int, kinds: Sequence[FaultKind], parties: Parties, rng: np.random.Generator
) -> PlannedFault:
    """Return a fault of any time."""
    kind = kinds[int(rng.integers(len(kinds)))]
    lasts_s = float(np.clip(rng.lognormal(np.log(MEDIAN_S), SIGMA), LEAST_S, MOST_S))
    parameters = _PARAMETERS.get(kind, (None, {}))[0]
    of_links = isinstance(parameters, OfLinks)
    struck = parties.names[Role.HOST] if of_links else parties.all_of(struck_by(kind))
    target = struck[int(rng.integers(len(struck)))]
    peers = [name for name in parties.all_of((Role.HOST, Role.ARRAY, Role.VRM)) if name != target]
    peer = peers[int(rng.integers(len(peers)))]
    return PlannedFault(
        name=f"{kind}-{number}",
        kind=kind,
        at_s=0.0,
        lasts_s=0.0 if passes_by_itself(kind) else lasts_s,
        targets=Selector(names=(target,)),
        peers=Selector(names=(peer,)) if of_links else None,
        parameters=parameters,
    )


def _contradicts(fault: PlannedFault, others: Sequence[PlannedFault], parties: Parties) -> bool:
    return any(overlap(fault, other) and contradicting(other, fault, parties) for other in others)


def _entry(fault: PlannedFault) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": fault.name,
        "kind": fault.kind.value,
        "at": f"{fault.at_s:g}s",
        "targets": list(fault.targets.names),
    }
    if fault.lasts_s:
        entry["lasts"] = f"{fault.lasts_s:g}s"
    if fault.peers is not None:
        entry["peers"] = list(fault.peers.names)
    return {**entry, **_PARAMETERS.get(fault.kind, (None, {}))[1]}
