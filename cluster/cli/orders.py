"""Orders to VMs and hosts: give them, wait for their tasks, say how they ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cluster.cli import output
from cluster.cli.client import VrmClient, connect
from cluster.cli.exits import ExitCode, TasksFailed, exit_code_of, kind_of
from cluster.cli.rows import ENDED, Row, task_row, task_status
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.errors import FusionError, Refused

if TYPE_CHECKING:
    from cluster.cli.task_progress import TaskProgress

#: So many reasons are told in one sentence.
REASONS_TOLD = 5

Send = Callable[[str], Coroutine[Any, Any, vrm.Task]]


@dataclass(frozen=True, slots=True)
class Terms:
    """Where an order goes and what its giver wants to hear."""

    datacenter: str | None
    wait: bool
    json: bool


@dataclass(slots=True)
class Outcome:
    """What became of one order to each of several VMs or hosts."""

    kind: str  # "vm" or "host"
    tasks: list[vrm.Task] = field(default_factory=list)
    refused: dict[str, FusionError] = field(default_factory=dict)  # by name as it was given

    @property
    def failures(self) -> list[str]:
        """A sentence for each for which the order did not succeed."""
        told = [
            f"{task.entity_name or task.entity}: {task.reason or 'no reason was given'}"
            if task_status(task) == "failed"
            else f"{task.entity_name or task.entity}: {task.kind} was cancelled"
            for task in self.tasks
            if task_status(task) in ("failed", "cancelled")
        ]
        return told + [f"{name}: {error}" for name, error in self.refused.items()]

    def document(self) -> Row:
        row: Row = {"tasks": [task_row(task) for task in self.tasks]}
        if self.refused:
            row["refused"] = [
                {self.kind: name, "message": str(error), "kind": kind_of(error)}
                for name, error in self.refused.items()
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


#: Say what became of the orders, a sentence each.
Tell = Callable[[VrmClient, Outcome], Coroutine[Any, Any, list[str]]]


def give(
    kind: str,
    names: Sequence[str],
    sender: Callable[[VrmClient], Send],
    tell: Tell,
    terms: Terms,
) -> None:
    """Give the order for every VM or host of ``names``, print what became of it, raise what failed.

    ``kind`` is ``vm`` or ``host``.
    """

    async def session() -> tuple[Outcome, list[str]]:
        async with connect(terms.datacenter) as client:
            outcome = await _carry_out(client, kind, names, sender(client), terms.wait)
            return outcome, [] if terms.json else await tell(client, outcome)

    outcome, lines = asyncio.run(session())
    for line in lines:
        print(line)
    outcome.check()
    if terms.json:
        output.document(outcome.document())


async def _carry_out(
    client: VrmClient, kind: str, names: Sequence[str], send: Send, wait: bool
) -> Outcome:
    """Send the order for each of ``names`` and, with ``wait``, watch its tasks to their end."""
    outcome = Outcome(kind)
    for name in dict.fromkeys(names):
        try:
            outcome.tasks.append(await send(name))
        except FusionError as error:
            outcome.refused[name] = error
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
