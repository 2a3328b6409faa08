"""``task``: what takes time."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cluster.cli import orders, output, tables
from cluster.cli.client import VrmClient, ask, connect, only
from cluster.cli.exits import TasksFailed
from cluster.cli.migration_figures import how_it_goes
from cluster.cli.options import DatacenterName, Json
from cluster.cli.rows import task_row, task_status
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.units import format_duration

tasks = typer.Typer(help="What operators started that takes time.", no_args_is_help=True)

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="Identity, such as t-000001.")]


@tasks.command("list")
def list_tasks(datacenter: DatacenterName = None, json: Json = False) -> None:
    """List the tasks, oldest first."""
    rows = [task_row(task) for task in ask(datacenter, lambda client: client.tasks())]
    if json:
        output.document({"tasks": rows})
    else:
        tables.show(output.console(), tables.task_columns(rows), "There are no tasks.")


@tasks.command("show")
def show_task(name: TaskName, datacenter: DatacenterName = None, json: Json = False) -> None:
    """Show a task."""

    async def question(client: VrmClient) -> vrm.Task:
        return only(await client.tasks([name]), "task", name)

    task = ask(datacenter, question)
    if json:
        output.document(task_row(task))
    else:
        tables.show_facts(output.console(), _facts(task))


@tasks.command("watch")
def watch_task(name: TaskName, datacenter: DatacenterName = None, json: Json = False) -> None:
    """Wait until a task has ended; exit 1 if it did not succeed."""

    async def session() -> vrm.Task:
        async with connect(datacenter) as client:
            task = only(await client.tasks([name]), "task", name)
            return (await orders.watch(client, [task]))[0]

    task = asyncio.run(session())
    row = task_row(task)
    if task_status(task) != "succeeded":
        why = f": {task.reason}" if task.reason else ""
        raise TasksFailed(
            f"task {task.id} ({task.kind} {row['entity_name']}) "
            f"{'was cancelled' if row['status'] == 'cancelled' else row['status']}"
            f"{why}",
            row,
        )
    if json:
        output.document(row)
    else:
        tables.show_facts(output.console(), _facts(task))


@tasks.command("cancel")
def cancel_task(name: TaskName, datacenter: DatacenterName = None, json: Json = False) -> None:
    """Cancel a task that has not gone too far."""
    row = task_row(ask(datacenter, lambda client: client.cancel_task(name)))
    if json:
        output.document(row)
    else:
        print(": ".join(word for word in (row["id"], row["status"], row["reason"]) if word))


def _facts(task: vrm.Task) -> dict[str, str]:
    row = task_row(task)
    ended = row["ended_s"]
    facts = {
        "Task": row["id"],
        "Kind": row["kind"],
        "Of": row["entity_name"],
        "Status": row["status"],
        "Done": f"{row['progress_percent']} %",
        "Started": f"{tables.clock(row['started_s'])} after the launch",
        "Took": "it is not over" if ended is None else format_duration(ended - row["started_s"]),
    }
    if row["reason"]:
        facts["Reason"] = row["reason"]
    if ended is None and task.HasField("migration"):
        facts["Migration"] = how_it_goes(task.migration)
    return facts
