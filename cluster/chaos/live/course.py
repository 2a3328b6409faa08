"""Experiments in a running datacenter: the control first, and then, in the same one, the faults."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace

from cluster.chaos.blast import blast_radius
from cluster.chaos.file import Loaded
from cluster.chaos.injector import Injector
from cluster.chaos.live.invariants import violations
from cluster.chaos.runner import Facilities, Glance, measure, settle
from cluster.live.addresses import AddressBook
from cluster.live.clock import LiveClock
from cluster.live.network import LiveNetwork
from cluster.live.raised_alerts import raised_alerts
from cluster.live.run_state import RunState
from cluster.observe.programs import PROMETHEUS
from cluster.simulated import provenance
from fusion.errors import FusionError, Refused
from fusion.experiment.evidence import Alerted, Evidence, Run, World
from fusion.experiment.verdict import judge
from fusion.spec import Datacenter

NOT_DONE = "It could not be carried out"


def check_same(wanted: Datacenter, running: Datacenter) -> None:
    """Raise ``Refused`` where ``running`` is not what an experiment is about."""
    way_out = f"shut it down with 'fusion down -d {running.name}', and one is launched that has all"
    for what, ours, theirs in (
        ("hosts", wanted.hosts, running.hosts),
        ("VMs", [vm.spec.name for vm in wanted.vms], [vm.spec.name for vm in running.vms]),
        ("arrays", wanted.arrays, running.arrays),
        ("clients", wanted.clients, running.clients),
    ):
        if ours != theirs:
            raise Refused(
                f"datacenter {running.name} runs with other {what} than the experiment wants; "
                f"{way_out}"
            )


async def carry_out(
    loaded: Loaded,
    run: RunState,
    injector: Injector,
    *,
    watcher: Callable[[Glance], None],
    interrupted: Callable[[], bool],
) -> Evidence:
    """Return all there is to tell of ``loaded``, carried out in the datacenter of ``run``."""
    network = LiveNetwork(AddressBook(run.file, run.addresses), run.speed)
    try:
        facilities = Facilities(
            datacenter=loaded.datacenter,
            clock=LiveClock(run.launched_at, run.speed),
            network=network,
            injector=injector,
            watcher=watcher,
            interrupted=interrupted,
        )
        control = await _passed(loaded, facilities, disturbed=False)
        disturbed = control
        if not control.aborted:
            # It has settled long ago; what the control left over must be over.
            disturbed = await _passed(_settled(loaded), facilities, disturbed=True)
            disturbed = replace(disturbed, alerts=await _alerts(run, disturbed))
    finally:
        await network.close()
    experiment = loaded.experiment
    command = ["fusion", "chaos", "run", loaded.source, "--world", "live"]
    if run.speed != loaded.datacenter.speed:
        command += ["--speed", f"{run.speed:g}"]
    if run.cabling is not None:
        command.append("--netns")
    return Evidence(
        experiment=experiment,
        world=World.LIVE,
        seed=experiment.seed,
        control=control,
        run=disturbed,
        verdict=judge(experiment, control, disturbed),
        blast=blast_radius(loaded, disturbed),
        command=shlex.join([*command, "--seed", str(experiment.seed)]),
        versions=provenance.present().versions,
    )


async def _alerts(state: RunState, run: Run) -> tuple[Alerted, ...] | None:
    """Return the alerts of ``run``, where a Prometheus of the datacenter watched."""
    url = state.observers.get(PROMETHEUS)
    if url is None or not run.looks:
        return None
    began_at = state.launched_at + run.began_s / state.speed
    ended_at = began_at + run.looks[-1].at_s / state.speed
    try:
        found = await raised_alerts(url, state.datacenter, began_at, ended_at)
    except FusionError:
        return None

    def at_s(instant: float) -> float:
        return (instant - began_at) * state.speed

    return tuple(
        Alerted(
            each.name,
            each.severity,
            each.of,
            at_s(each.active_at),
            None if each.firing_at is None else at_s(each.firing_at),
        )
        for each in found
    )


def _settled(loaded: Loaded) -> Loaded:
    return replace(loaded, experiment=replace(loaded.experiment, settle_s=0.0))


async def _passed(loaded: Loaded, facilities: Facilities, *, disturbed: bool) -> Run:
    """Let the time of an experiment pass once; what fails, or breaks an invariant, is told."""
    try:
        await settle(loaded.experiment, facilities)
        run = await measure(loaded.experiment, facilities, disturbed=disturbed)
        found = await violations(facilities.network, facilities.clock)
    except FusionError as problem:
        why = "It was interrupted." if facilities.interrupted() else f"{NOT_DONE}: {problem}."
        return Run((), {}, aborted=why)
    outcomes = {**run.outcomes, "violations": float(len(found))}
    return replace(run, outcomes=outcomes, violations=found)
