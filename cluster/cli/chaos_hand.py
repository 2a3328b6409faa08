"""Faults by hand, in a datacenter that runs: let begin, told of, healed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from cluster.chaos.injector import Health
from cluster.chaos.live.injector import Healed, LiveInjector
from cluster.cli import output
from cluster.cli.client import killed
from cluster.cli.exits import ExitCode
from cluster.cli.interrupts import first_interrupt
from cluster.live import processes
from cluster.live.actors import load_datacenter
from cluster.live.addresses import AddressBook
from cluster.live.fault_book import WrittenFault
from cluster.live.network import LiveNetwork
from cluster.live.run_state import RunState, find
from fusion.errors import FusionError, NotFound
from fusion.experiment.selection import ENDS, Parties, candidates, passes_by_itself, struck_by
from fusion.experiment.spec import Selector
from fusion.faults.schedule import Fault, FaultKind, OfLinks, Parameters

Answer = TypeVar("Answer")

#: Between two looks at a fault that is waited for.
LOOK_S = 1.0


def inject(
    datacenter: str | None,
    kind: FaultKind,
    targets: Sequence[str],
    lasts_s: float,
    parameters: Parameters,
    *,
    json: bool,
) -> int:
    """Let a fault of ``kind`` begin; one that lasts ``lasts_s`` is waited for, and healed."""
    run = _running(datacenter)
    parties = Parties.of(load_datacenter(Path(run.folder)))
    struck = candidates(Selector(names=tuple(targets)), struck_by(kind), parties)
    if isinstance(parameters, OfLinks):
        parameters = replace(parameters, peers=_peers(parameters.peers, struck, parties))
    fault = Fault(kind, 0.0, lasts_s, struck, parameters)
    waits = lasts_s > 0 and not passes_by_itself(kind)
    with first_interrupt() as interrupted:
        return asyncio.run(_inject(run, fault, waits, interrupted, json))


def heal(datacenter: str | None, name: str, *, json: bool) -> int:
    """Undo the fault called ``name``, or all of them."""
    return _session(datacenter, lambda injector: _heal(injector, name, json))


def status(datacenter: str | None, *, json: bool) -> int:
    """Tell of all faults that are under way."""
    return _session(datacenter, lambda injector: _status(injector, json))


@asynccontextmanager
async def injecting(run: RunState, *, ownerless: bool = False) -> AsyncIterator[LiveInjector]:
    """Give an injector of ``run``; what killed runners left there is healed first, and told."""
    network = LiveNetwork(AddressBook(run.file, run.addresses), run.speed)
    try:
        injector = LiveInjector(run, network, ownerless=ownerless)
        for healed in await injector.heal_left():
            if healed.failure:
                output.warning(f"{_called(healed.written)} was left behind: {healed.failure}")
            else:
                output.note(f"healed {_called(healed.written)}, which a killed command left behind")
        yield injector
    finally:
        await network.close()


def _session(
    datacenter: str | None, deed: Callable[[LiveInjector], Coroutine[Any, Any, Answer]]
) -> Answer:
    run = _running(datacenter)

    async def session() -> Answer:
        async with injecting(run) as injector:
            return await deed(injector)

    return asyncio.run(session())


def _running(datacenter: str | None) -> RunState:
    run = find(datacenter)
    if not processes.alive(run.launcher):
        raise killed(run)
    return run


def _peers(wanted: Sequence[str], struck: Sequence[str], parties: Parties) -> tuple[str, ...]:
    """Return the other ends of links; where none are named, everybody else."""
    if wanted:
        return candidates(Selector(names=tuple(wanted)), ENDS, parties)
    return tuple(name for name in parties.all_of(ENDS) if name not in struck)


async def _inject(
    run: RunState, fault: Fault, waits: bool, interrupted: Callable[[], bool], json: bool
) -> int:
    async with injecting(run, ownerless=not waits) as injector:
        name = await injector.inject(fault)
        health = await injector.health(name)
        if json:
            output.document({"id": name, **_row(fault, health)})
        else:
            print(f"{name}: {health.detail}", flush=True)
        if not waits:
            if not json:
                output.note(f"it lasts until 'fusion chaos heal {name}'")
            return ExitCode.DONE
        try:
            await _while_it_lasts(injector, name, fault.lasts_s / run.speed, interrupted)
        finally:
            await injector.heal(name)
            output.note(f"healed {name}")
    return ExitCode.INTERRUPTED if interrupted() else ExitCode.DONE


async def _while_it_lasts(
    injector: LiveInjector, name: str, lasts_s: float, interrupted: Callable[[], bool]
) -> None:
    """Say whenever the health of the fault changes, until it is due to end."""
    loop = asyncio.get_running_loop()
    until_s, told = loop.time() + lasts_s, (await injector.health(name)).detail
    while not interrupted() and (left_s := until_s - loop.time()) > 0:
        await asyncio.sleep(min(LOOK_S, left_s))
        health = await injector.health(name)
        if health.detail != told:
            output.note(f"{name}: {health.detail}")
            told = health.detail


async def _heal(injector: LiveInjector, name: str, json: bool) -> int:
    wanted = [each for each in injector.under_way() if name in ("", each.name)]
    if name and not wanted:
        raise NotFound(f"no fault {name!r} is under way; 'fusion chaos status' lists those")
    healed = [await injector.try_to_heal(each) for each in wanted]
    failed = [each for each in healed if each.failure]
    if json:
        output.document({"healed": [_healed_row(each) for each in healed]})
    else:
        for each in healed:
            if not each.failure:
                print(f"healed {_called(each.written)}")
        if not wanted:
            print("no fault is under way")
    for each in failed:
        output.error(FusionError(f"{_called(each.written)}: {each.failure}"))
    return ExitCode.FAILED if failed else ExitCode.DONE


async def _status(injector: LiveInjector, json: bool) -> int:
    rows = []
    for each in injector.under_way():
        owner = each.owner.pid if each.owner else None
        health = await _health(injector, each.name)
        rows.append({"id": each.name, **_row(each.fault, health), "owner_pid": owner})
    if json:
        output.document({"faults": rows})
        return ExitCode.DONE
    for row in rows:
        whose = f", of process {row['owner_pid']}" if row["owner_pid"] else ""
        how = f"{row['detail']}{'' if row['acting'] else ' (not acting)'}"
        print(f"{row['id']}  {row['kind']} of {', '.join(row['targets'])}{whose}: {how}")
    if not rows:
        print("no fault is under way")
    return ExitCode.DONE


async def _health(injector: LiveInjector, name: str) -> Health:
    try:
        return await injector.health(name)
    except FusionError as failure:
        return Health(False, str(failure))


def _row(fault: Fault, health: Health) -> dict[str, Any]:
    return {
        "kind": fault.kind.value,
        "targets": list(fault.targets),
        "acting": health.acting,
        "detail": health.detail,
    }


def _healed_row(healed: Healed) -> dict[str, Any]:
    fault = healed.written.fault
    row = {"id": healed.written.name, "kind": fault.kind.value, "targets": list(fault.targets)}
    return {**row, "failure": healed.failure}


def _called(written: WrittenFault) -> str:
    return f"{written.name} ({written.fault.kind} of {', '.join(written.fault.targets)})"
