"""Orders to VMs: give them, wait for their tasks, say how they ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cluster.cli import output
from cluster.cli.client import VrmClient
from cluster.cli.exits import ExitCode, TasksFailed, exit_code_of, kind_of
from cluster.cli.rows import ENDED, Row, task_row, task_status, vm_state
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.errors import FusionError, Refused
from fusion.units import format_duration

if TYPE_CHECKING:
    from cluster.cli.task_progress import TaskProgress

#: So many reasons are told in one sentence.
REASONS_TOLD = 5

Send = Callable[[str], Coroutine[Any, Any, vrm.Task]]


@dataclass(slots=True)
class Outcome:
    """What became of one order to each of several VMs."""

    tasks: list[vrm.Task] = field(default_factory=list)
    refused: dict[str, FusionError] = field(default_factory=dict)  # by VM as it was named

    @property
    def failures(self) -> list[str]:
        """A sentence per VM for which the order did not succeed."""
        told = [
            f"{task.entity_name or task.entity}: {task.reason or 'no reason was given'}"
            if task_status(task) == "failed"
            else f"{task.entity_name or task.entity}: {task.kind} was cancelled"
            for task in self.tasks
            if task_status(task) in ("failed", "cancelled")
        ]
        return told + [f"{vm}: {error}" for vm, error in self.refused.items()]

    def document(self) -> Row:
        row: Row = {"tasks": [task_row(task) for task in self.tasks]}
        if self.refused:
            row["refused"] = [
                {"vm": vm, "message": str(error), "kind": kind_of(error)}
                for vm, error in self.refused.items()
            ]
        return row

    def check(self) -> None:
        """Raise what is to be said of the failures, if there are any."""
        failures = self.failures
        if not failures:
            return
        total = len(self.tasks) + len(self.refused)
        if total == 1:
            sole = next(iter(self.refused.values()), None)
            raise sole if sole is not None else TasksFailed(failures[0], self.document())
        told = "; ".join(failures[:REASONS_TOLD])
        more = len(failures) - REASONS_TOLD
        sentence = f"{len(failures)} of {total} orders did not succeed: {told}" + (
            f"; and {more} more" if more > 0 else ""
        )
        if self.tasks or any(
            exit_code_of(error) is ExitCode.FAILED for error in self.refused.values()
        ):
            raise TasksFailed(sentence, self.document())
        raise Refused(sentence)


async def carry_out(client: VrmClient, vms: Sequence[str], send: Send, wait: bool) -> Outcome:
    """Send the order for each of ``vms`` and, with ``wait``, watch its tasks to their end."""
    outcome = Outcome()
    for vm in dict.fromkeys(vms):
        try:
            outcome.tasks.append(await send(vm))
        except FusionError as error:
            outcome.refused[vm] = error
    if wait and outcome.tasks:
        outcome.tasks = await watch(client, outcome.tasks)
    return outcome


async def watch(client: VrmClient, tasks: Sequence[vrm.Task]) -> list[vrm.Task]:
    """Show the progress of ``tasks`` until all have ended; return them as they ended."""
    with _display(tasks) as shown:

        async def until_ended(task: vrm.Task) -> vrm.Task:
            last = task
            if task_status(task) in ENDED:
                return last
            async for last in client.watch_task(task.id):
                if shown is not None:
                    shown.update(last)
            return last

        try:
            return list(await asyncio.gather(*(until_ended(task) for task in tasks)))
        except asyncio.CancelledError:
            output.note("what was ordered goes on; see 'fusion task list'")
            raise


def _display(tasks: Sequence[vrm.Task]) -> AbstractContextManager[TaskProgress | None]:
    """Progress bars where somebody looks at them."""
    console = output.error_console()
    if not output.watched(console):
        return nullcontext()
    from cluster.cli.task_progress import TaskProgress

    return TaskProgress(console, tasks)


async def sentences(client: VrmClient, outcome: Outcome, done: str) -> list[str]:
    """Say for each order that succeeded where the VM is now, for others which task it is."""
    now: dict[str, vrm.Vm] = {}
    ended = [task for task in outcome.tasks if task_status(task) == "succeeded"]
    if ended and done != "deleted":
        try:
            now = {vm.id: vm for vm in await client.vms([task.entity for task in ended])}
        except FusionError:
            now = {}  # somebody else was quicker and deleted one
    lines = []
    for task in outcome.tasks:
        name = task.entity_name or task.entity
        status = task_status(task)
        if status == "succeeded":
            took = format_duration(max(0.0, task.ended_s - task.started_s))
            lines.append(f"{name}: {done} in {took}{_whereabouts(now.get(task.entity), done)}")
        elif status not in ENDED:
            lines.append(f"{name}: {task.kind} goes on as task {task.id}")
    return lines


def _whereabouts(vm: vrm.Vm | None, done: str) -> str:
    if vm is None or vm_state(vm) == done:
        return ""
    return f"; {vm_state(vm)}" + (f" on {vm.host}" if vm.host else "")
