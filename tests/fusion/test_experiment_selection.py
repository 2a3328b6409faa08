"""Selectors: whom faults strike."""

from __future__ import annotations

import pytest

from fusion.errors import NotFound
from fusion.experiment.selection import Parties, Role, candidates, select, struck_by
from fusion.experiment.spec import Selector
from fusion.faults.schedule import FaultKind
from fusion.seeds import generator

HOSTS = tuple(f"cna-{k:02d}" for k in range(1, 9))
PARTIES = Parties(
    {
        Role.HOST: HOSTS,
        Role.ARRAY: ("san-1",),
        Role.VRM: ("vrm",),
        Role.VM: ("web-01", "db-01"),
        Role.GATEWAY: ("gateway",),
        Role.ARBITER: ("arbiter",),
        Role.DATASTORE: ("ds-1", "ds-2"),
    },
    {host: "r1" if host < "cna-05" else "r2" for host in HOSTS},
)
HOST = (Role.HOST,)


def selected(selector: Selector, seed: int = 1, barred: frozenset[str] = frozenset()) -> list[str]:
    rng = generator(seed, "test")
    return [*select(selector, HOST, PARTIES, {"web-01": "cna-06"}, rng, barred=barred)]


def test_selectors_narrow_each_other() -> None:
    assert selected(Selector(rack="r2")) == [*HOSTS[4:]]
    assert selected(Selector(names=("cna-0[12]", "cna-06"))) == ["cna-01", "cna-02", "cna-06"]
    assert selected(Selector(names=("cna-0[12]", "cna-06"), rack="r2")) == ["cna-06"]
    assert selected(Selector(host_of="web-01")) == ["cna-06"]
    assert selected(Selector(role="host", share=0.3)) == selected(Selector(role="host", count=3))


def test_draws_follow_the_seed() -> None:
    drawn = [selected(Selector(role="host", count=2), seed) for seed in range(20)]
    assert drawn == [selected(Selector(role="host", count=2), seed) for seed in range(20)]
    assert len({tuple(names) for names in drawn}) > 5
    assert {name for names in drawn for name in names} == {*HOSTS}


def test_who_is_barred_is_not_drawn() -> None:
    barred = frozenset(HOSTS[:6])
    for seed in range(10):
        assert selected(Selector(role="host", count=2), seed, barred) == ["cna-07", "cna-08"]
    with pytest.raises(NotFound, match="fewer than the 3"):
        selected(Selector(role="host", count=3), barred=barred)


@pytest.mark.parametrize(
    "selector",
    [
        Selector(names=("cna-01", "cna-99")),
        Selector(rack="r3"),
        Selector(host_of="nobody"),
        Selector(host_of="db-01"),
        Selector(role="vm"),
        Selector(role="host", count=9),
    ],
)
def test_what_matches_nothing_is_said(selector: Selector) -> None:
    with pytest.raises(NotFound):
        selected(selector)


def test_before_a_run_any_host_may_have_the_vm() -> None:
    assert candidates(Selector(host_of="db-01"), HOST, PARTIES) == HOSTS
    ends = struck_by(FaultKind.PARTITION)
    assert candidates(Selector(host_of="db-01"), ends, PARTIES) == HOSTS


def test_faults_have_their_parties() -> None:
    assert struck_by(FaultKind.HOST_HANG) == HOST
    assert struck_by(FaultKind.GUEST_CRASH) == (Role.VM,)
    assert struck_by(FaultKind.GUEST_MEMORY_HOG) == (Role.VM,)
    assert struck_by(FaultKind.FULL_DATASTORE) == (Role.DATASTORE,)
    assert struck_by(FaultKind.ARRAY_HANG) == (Role.ARRAY,)
    assert struck_by(FaultKind.GATEWAY_HANG) == (Role.GATEWAY,)
    assert struck_by(FaultKind.FLAPPING) == struck_by(FaultKind.PARTITION)
    assert Role.DATASTORE not in struck_by(FaultKind.BANDWIDTH)
    assert Role.ARBITER in struck_by(FaultKind.PARTITION)
