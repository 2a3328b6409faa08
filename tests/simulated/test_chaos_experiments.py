"""Experiments in the simulated world: the procedure, and the packaged ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from cluster.chaos.blast import blast_radius
from cluster.chaos.file import Loaded, experiments, load
from cluster.chaos.injector import Health
from cluster.chaos.runner import Glance
from cluster.chaos.seeds import under_seeds
from cluster.chaos.simulated import carry_out, passed
from cluster.chaos.simulated_injector import SimulatedInjector
from fusion.errors import FusionError
from fusion.experiment.evidence import ClientSeen, Judgement, Run, Span
from fusion.experiment.spec import (
    Comparison,
    Condition,
    Experiment,
    Hypothesis,
    PlannedFault,
    Selector,
    When,
)
from fusion.faults.schedule import (
    Fault,
    FaultKind,
    Filled,
    Flap,
    Impaired,
    Load,
    MemoryHog,
    Narrow,
    Parameters,
)
from fusion.spec import GIB, ArraySpec, ClientSpec, DatastoreSpec, VolumeSpec
from tests.simulated.small import small_datacenter
from tests.simulated.trial import trials

ALL_RUN = Hypothesis("all run", Condition("vms_running_share", Comparison.AT_LEAST, 1.0))
PLUG = PlannedFault("plug", FaultKind.HOST_CRASH, 5.0, 25.0, Selector(host_of="web-01"))

HOUR = "an-hour-of-random-faults"


def small(*faults: PlannedFault, **changes: Any) -> Loaded:
    """An experiment with three hosts, six VMs and clients of three of them."""
    clients = tuple(ClientSpec(f"shop-{k}", f"web-0{k}") for k in range(1, 4))
    experiment = Experiment(
        name="small",
        question="What?",
        scenario="small",
        duration_s=45.0,
        faults=faults,
        hypotheses=(ALL_RUN,),
        settle_s=5.0,
    )
    plain = small_datacenter()
    volume = VolumeSpec("ds-1", "san-1", GIB)
    datacenter = replace(
        plain,
        vms=tuple(
            replace(planned, spec=replace(planned.spec, volumes=(volume,))) for planned in plain.vms
        ),
        arrays=(ArraySpec("san-1", (DatastoreSpec("ds-1", 1000 * GIB),)),),
        lease_s=4.0,
        renewal_s=1.0,
        clients=clients,
    )
    return Loaded("small", replace(experiment, **changes), datacenter).with_seed(3)


def test_a_lost_host_is_seen_by_everybody() -> None:
    asked = (
        Condition("alarm_s", Comparison.AT_MOST, 15.0, "host.dead"),
        Condition("alarms", Comparison.EQUAL, 1.0, "host.dis*"),
        Condition("alarms", Comparison.EQUAL, 0.0, "vm.failover.gave-up"),
    )
    evidence = carry_out(small(PLUG, expectations=asked))
    run = evidence.run
    assert run.outcomes["alarm_s@host.dead"] > run.outcomes["alarm_s"] > 0.0
    assert evidence.verdict.judgement is Judgement.PASS, evidence.verdict
    (fault,) = run.faults
    assert (fault.observed, fault.unhealed) == (True, "")
    assert fault.began_s == pytest.approx(5.0, abs=0.1)
    assert fault.ended_s == pytest.approx(30.0, abs=0.1)
    (host,) = fault.targets
    assert {recovery.from_host for recovery in run.recoveries} == {host}
    recovery = next(each for each in run.recoveries if each.vm == "web-01")
    assert [phase for phase, _ in recovery.phases] == ["detect", "fence", "queue", "place", "boot"]
    assert run.outcomes["rto_s"] == pytest.approx(
        max(sum(spent_s for _, spent_s in each.phases) for each in run.recoveries)
    )
    seen = next(client for client in run.clients if client.vm == "web-01")
    ((from_s, to_s),) = seen.gaps
    assert from_s <= 5.1 < to_s
    assert run.outcomes["longest_gap_s"] >= seen.longest_gap_s >= to_s - from_s
    assert run.outcomes["errors"] == sum(each.requests - each.answered for each in run.clients)
    assert {host, "web-01"} <= set(evidence.blast.actual)
    assert set(evidence.blast.planned) == {"cna-01", "cna-02", "cna-03"}
    assert set(evidence.blast.carried) == {recovery.vm for recovery in run.recoveries}
    states = [span.state for span in run.states if span.entity == host]
    assert states[0] == states[-1] == "normal"
    assert len(states) > 2
    assert any(event.severity != "info" for event in run.events)


def test_a_vm_that_only_the_vrm_lost_sight_of_did_not_suffer() -> None:
    served = ClientSeen("shop-1", "web-01", 9, 9, 0.5, (), (), 0, 0)
    missed = replace(served, vm="web-02", gaps=((3.0, 5.0),))
    names = "web-01", "web-02", "web-03"  # the last has no clients
    unknown = tuple(Span(name, "unknown", 3.0, 4.0) for name in names)
    run = Run((), {}, states=unknown, clients=(served, missed))
    assert set(blast_radius(small(PLUG), run).actual) == {"web-02", "web-03"}
    stopped = replace(run, states=(replace(unknown[0], state="stopped"),))
    assert set(blast_radius(small(PLUG), stopped).actual) == {"web-01", "web-02"}


def test_the_control_is_without_faults_and_of_the_same_length() -> None:
    control = carry_out(small(PLUG)).control
    assert control.faults == ()
    assert control.recoveries == ()
    assert control.looks[-1].at_s == 45.0
    assert len(control.looks) == 46
    assert all(look.values["vms_running_share"] == 1.0 for look in control.looks)
    assert control.outcomes["errors"] == control.outcomes["violations"] == 0.0
    assert "rto_s" not in control.outcomes


def test_one_seed_has_one_digest_with_and_without_a_control_before() -> None:
    first = carry_out(small(PLUG))
    again = carry_out(small(PLUG), control=first.control)
    assert first.digest == again.digest
    assert first.run == again.run
    other = carry_out(small(PLUG).with_seed(4), control=first.control)
    assert other.digest != first.digest


def test_every_fault_of_the_world_can_be_struck_seen_and_healed() -> None:
    vrm, host = Selector(names=("vrm",)), Selector(names=("cna-02",))
    faults = (
        PlannedFault("vrm", FaultKind.VRM_CRASH, 2.0, 5.0, vrm),
        PlannedFault("hang", FaultKind.HOST_HANG, 8.0, 4.0, host),
        PlannedFault(
            "slow", FaultKind.SLOW_LINK, 9.0, 8.0, vrm, parameters=Impaired(peers=(), latency_s=0.1)
        ),
        PlannedFault("guest", FaultKind.GUEST_CRASH, 14.0, 0.0, Selector(names=("web-02",))),
        PlannedFault(
            "load", FaultKind.LOAD_BURST, 16.0, 5.0, Selector(names=("web-03",)),
            parameters=Load(percent=50.0),
        ),
    )  # fmt: skip
    evidence = carry_out(small(*faults))
    assert [fault.name for fault in evidence.run.faults] == ["vrm", "hang", "slow", "guest", "load"]
    assert all(fault.observed and not fault.unhealed for fault in evidence.run.faults)
    assert {0.0, 1.0} == {look.values["vrm_up"] for look in evidence.run.looks}
    assert evidence.verdict.judgement is Judgement.PASS, evidence.verdict


def test_faults_of_storage_the_gateway_and_narrow_links_have_their_effects() -> None:
    def fault(
        name: str, kind: FaultKind, at_s: float, lasts_s: float, target: str, *more: Parameters
    ) -> PlannedFault:
        selector = Selector(names=(target,))
        return PlannedFault(name, kind, at_s, lasts_s, selector, parameters=next(iter(more), None))

    narrow, flap = Narrow(peers=(), bandwidth_bps=20e3), Flap(peers=(), down_s=1.0, up_s=1.0)
    hog = MemoryHog(rate_bytes_s=1e9)
    evidence = carry_out(
        small(
            fault("narrow", FaultKind.BANDWIDTH, 2.0, 4.0, "san-1", narrow),
            fault("flaps", FaultKind.FLAPPING, 8.0, 4.0, "vrm", flap),
            fault("array", FaultKind.ARRAY_HANG, 14.0, 3.0, "san-1"),
            fault("dead", FaultKind.GATEWAY_CRASH, 20.0, 3.0, "gateway"),
            fault("still", FaultKind.GATEWAY_HANG, 25.0, 3.0, "gateway"),
            fault("full", FaultKind.FULL_DATASTORE, 30.0, 6.0, "ds-1", Filled()),
            fault("anew", FaultKind.ARRAY_CRASH, 32.0, 1.0, "san-1"),
            fault("hog", FaultKind.GUEST_MEMORY_HOG, 30.0, 6.0, "web-0[23]", hog),
        )
    )
    run = evidence.run
    assert evidence.verdict.judgement is Judgement.PASS, evidence.verdict
    assert [(each.observed, each.unhealed) for each in run.faults] == [(True, "")] * 8
    assert run.outcomes["lost_durable_entries"] == run.outcomes["violations"] == 0.0

    def seen(figure: str, from_s: int, to_s: int) -> list[float | None]:
        return [look.values.get(figure) for look in run.looks[from_s : to_s + 1]]

    quick_s, slow_s = seen("latency_p95_s", 1, 1)[0], seen("latency_p95_s", 5, 5)[0]
    assert quick_s is not None
    assert slow_s is not None
    assert slow_s > 50 * quick_s  # 400 bytes take 0.16 s each way
    assert seen("answered_share", 15, 17) == [None, None, 0.0]  # the array queues, and then:
    assert seen("answered_share", 19, 20) == [1.0] * 2
    assert seen("answered_share", 21, 23) == seen("answered_share", 26, 28) == [None] * 3
    assert seen("datastore_used_share", 31, 32) == [1.0] * 2
    assert seen("datastore_used_share", 34, 36) == [1.0] * 3  # its array came up anew
    assert seen("vms_running", 31, 36) == [3.0] * 6  # who writes to it is held
    assert seen("vms_running", 38, 45) == [6.0] * 8
    assert 1.0 not in seen("datastore_used_share", 38, 45)


def test_an_abort_heals_everything_at_once() -> None:
    abort = Condition("vrm_up", Comparison.AT_MOST, 0.0)
    vrm = PlannedFault("vrm", FaultKind.VRM_CRASH, 6.0, 30.0, Selector(names=("vrm",)))
    evidence = carry_out(small(PLUG, vrm, aborts=(abort,)))
    run = evidence.run
    assert evidence.verdict.judgement is Judgement.ABORTED
    assert run.aborted == f"It was aborted at {run.looks[-1].at_s:g}s: VRM up ≤ 0 %."
    assert run.looks[-1].at_s == pytest.approx(7.0, abs=0.1)
    assert all(fault.ended_s < 9.0 and not fault.unhealed for fault in run.faults)


def test_without_a_steady_state_nothing_is_struck() -> None:
    never = Hypothesis("impossible", Condition("hosts_normal", Comparison.AT_LEAST, 4.0), When.EDGE)
    evidence = carry_out(small(PLUG, hypotheses=(never,)))
    assert evidence.run.faults == ()
    assert evidence.run.looks[-1].at_s == pytest.approx(5.0)
    assert evidence.verdict.judgement is Judgement.INCONCLUSIVE


def test_an_interrupt_ends_it_in_good_order() -> None:
    looked: list[Glance] = []

    def interrupted() -> bool:
        return any(glance.phase == "faults" and glance.at_s > 10 for glance in looked)

    evidence = carry_out(small(PLUG), watcher=looked.append, interrupted=interrupted)
    assert evidence.verdict.judgement is Judgement.ABORTED
    assert evidence.run.aborted.startswith("It was interrupted")
    assert not evidence.run.faults[0].unhealed
    shown = [glance.faults for glance in looked if glance.faults]
    assert shown
    assert all(faults["plug"].acting for faults in shown)


async def _refuses(self: object, fault: Fault) -> str:
    raise FusionError("there is no such switch")


async def _sticks(self: object, name: str) -> None:
    raise FusionError("the switch is stuck")


async def _idle(self: object, name: str) -> Health:
    return Health(False, "nothing is seen")


@pytest.mark.parametrize(
    ("method", "broken", "why"),
    [
        ("inject", _refuses, "The fault plug was not seen to change anything."),
        ("health", _idle, "The fault plug was not seen to change anything."),
        ("heal", _sticks, "The fault plug could not be undone: the switch is stuck"),
    ],
)
def test_what_does_not_go_as_planned_is_said(
    monkeypatch: pytest.MonkeyPatch, method: str, broken: Callable[..., Any], why: str
) -> None:
    monkeypatch.setattr(SimulatedInjector, method, broken)
    end = Hypothesis("up", Condition("vrm_up", Comparison.EQUAL, 1.0))
    verdict = carry_out(small(PLUG, hypotheses=(end,))).verdict
    assert (verdict.judgement, verdict.why) == (Judgement.INCONCLUSIVE, why)


def test_what_fails_in_the_world_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    async def planted(self: object, fault: Fault) -> str:
        raise KeyError("planted")

    monkeypatch.setattr(SimulatedInjector, "inject", planted)
    verdict = carry_out(small(PLUG)).verdict
    assert verdict.judgement is Judgement.ABORTED
    assert "planted" in verdict.why


def test_many_seeds_tell_the_same_as_each_alone() -> None:
    loaded = small(PLUG)
    found = {each.seed: each for each in under_seeds(loaded, range(1, 4), 2)}
    assert sorted(found) == [1, 2, 3]
    control = passed(loaded.with_seed(1), disturbed=False).run
    alone = carry_out(loaded.with_seed(2), control=control)
    assert found[2].digest == alone.digest
    assert found[2].outcomes == alone.run.outcomes
    assert found[2].verdict == alone.verdict
    assert len({each.digest for each in found.values()}) == 3


PACKAGED = [name for name in experiments() if name != HOUR]
packaged = cache(load)


def without_faults(loaded: Loaded) -> tuple[object, ...]:
    """Return all that decides how the control of ``loaded`` goes."""
    experiment = loaded.experiment
    times_s = (experiment.settle_s, experiment.duration_s, experiment.look_s)
    return loaded.datacenter, experiment.orders, times_s


def control_of(loaded: Loaded) -> Run:
    """Return the control of ``loaded``, which those share that differ in their faults alone."""
    every = map(packaged, PACKAGED)
    alike = [each for each in every if without_faults(each) == without_faults(loaded)]
    return measured(*(each.source for each in alike))


@cache
def measured(*names: str) -> Run:
    """Measure a control for everything that any of the experiments asks."""
    of = [packaged(name).experiment for name in names]
    asked = replace(
        of[0],
        hypotheses=tuple(each for one in of for each in one.hypotheses),
        expectations=tuple(each for one in of for each in one.expectations),
    )
    return passed(replace(packaged(names[0]), experiment=asked), disturbed=False).run


@pytest.mark.parametrize("seed", range(1, 1 + trials(1)))
@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_experiments_pass(name: str, seed: int) -> None:
    loaded = packaged(name)
    evidence = carry_out(loaded.with_seed(seed), control=control_of(loaded))
    assert evidence.verdict.judgement is Judgement.PASS, evidence.verdict


def test_a_shared_control_is_what_each_would_measure_for_itself() -> None:
    loaded = small(PLUG)
    more = Hypothesis("web-01 runs", Condition("vms_running", Comparison.EQUAL, 1.0, "web-01"))
    asked = replace(loaded.experiment, hypotheses=(ALL_RUN, more))
    shared = passed(replace(loaded, experiment=asked), disturbed=False)
    alone = passed(loaded, disturbed=False)
    assert shared.digest == alone.digest
    assert shared.run.outcomes.items() >= alone.run.outcomes.items()
    for both, one in zip(shared.run.looks, alone.run.looks, strict=True):
        assert both.values.items() >= one.values.items()


def test_a_part_of_the_hour_of_random_faults_passes() -> None:
    loaded = load(HOUR)
    shorter = replace(loaded, experiment=replace(loaded.experiment, duration_s=600.0))
    evidence = carry_out(shorter)
    assert evidence.verdict.judgement is Judgement.PASS, evidence.verdict
    assert len(evidence.run.faults) > 3
    assert all(not fault.unhealed for fault in evidence.run.faults)
