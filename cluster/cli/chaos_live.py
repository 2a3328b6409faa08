"""``chaos inject``, ``heal`` and ``status``: faults by hand, in a datacenter that runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from cluster.chaos.injector import Health
from cluster.chaos.live.injector import Healed, LiveInjector
from cluster.cli import output
from cluster.cli.client import killed
from cluster.cli.exits import ExitCode
from cluster.cli.interrupts import first_interrupt
from cluster.cli.options import DatacenterName, Json, duration
from cluster.live import processes
from cluster.live.actors import load_datacenter
from cluster.live.addresses import AddressBook
from cluster.live.fault_book import WrittenFault
from cluster.live.network import LiveNetwork
from cluster.live.run_state import RunState, find
from fusion.errors import FusionError, InvalidInput
from fusion.experiment.selection import Parties, candidates, passes_by_itself, struck_by
from fusion.experiment.spec import Selector
from fusion.faults.schedule import Fault, FaultKind

Answer = TypeVar("Answer")

#: Between two looks at a fault that is waited for.
LOOK_S = 1.0

chaos_live = typer.Typer(no_args_is_help=True)


@chaos_live.command()
def inject(
    fault: Annotated[str, typer.Argument(metavar="FAULT", help="What is to happen: host_crash …")],
    targets: Annotated[
        list[str], typer.Argument(metavar="TARGET...", help="To whom: names, or patterns of them.")
    ],
    *,
    lasts: Annotated[
        str, typer.Option("--for", metavar="30s", help="Wait so long, and heal it again.")
    ] = "",
    datacenter: DatacenterName = None,
    json: Json = False,
) -> int:
    """Let a fault begin in a running datacenter; it lasts until it is healed.

    With --for this command stays as long as the fault does, and heals it at its end or on Ctrl-C.
    """
    run = _running(datacenter)
    lasts_s = duration(lasts, "--for") if lasts else 0.0
    kind = _kind(fault)
    parties = Parties.of(load_datacenter(Path(run.folder)))
    struck = candidates(Selector(names=tuple(targets)), struck_by(kind), parties)
    planned = Fault(kind, 0.0, lasts_s, struck)
    waits = lasts_s > 0 and not passes_by_itself(kind)
    with first_interrupt() as interrupted:
        return asyncio.run(_inject(run, planned, waits, interrupted, json))


@chaos_live.command()
def heal(
    name: Annotated[
        str, typer.Argument(metavar="[ID]", help="Which fault; without it, all of them.")
    ] = "",
    *,
    datacenter: DatacenterName = None,
    json: Json = False,
) -> int:
    """Undo a fault that is under way, or all of them, whoever let them begin."""
    return _session(datacenter, lambda injector: _heal(injector, name, json))


@chaos_live.command()
def status(datacenter: DatacenterName = None, json: Json = False) -> int:
    """Show the faults that are under way, and how they are."""
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


def _kind(text: str) -> FaultKind:
    try:
        return FaultKind(text.replace("-", "_"))
    except ValueError:
        known = ", ".join(FaultKind)
        raise InvalidInput(f"FAULT: {text!r} is no fault; there are {known}") from None


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
        raise InvalidInput(f"no fault {name!r} is under way; 'fusion chaos status' lists those")
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
