"""The command ``fusion``: an operator's way to a datacenter."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import typer

from cluster.cli import output
from cluster.cli.chaos import chaos
from cluster.cli.chaos_live import chaos_live
from cluster.cli.clients import clients
from cluster.cli.datastores import datastores
from cluster.cli.down import down
from cluster.cli.events import events
from cluster.cli.exits import BrokeDown, ExitCode, exit_code_of
from cluster.cli.failovers import failovers
from cluster.cli.files import traces, validate
from cluster.cli.host_orders import host_orders
from cluster.cli.inventory import clusters, hosts, status
from cluster.cli.migrations import migrations
from cluster.cli.observe import observe
from cluster.cli.replay import replay
from cluster.cli.sim import sim
from cluster.cli.tasks import tasks
from cluster.cli.up import up
from cluster.cli.vm_migrate import vm_migrate
from cluster.cli.vm_orders import vm_orders
from cluster.cli.vms import vms
from fusion.errors import FusionError, InvalidInput

app = typer.Typer(
    name="fusion",
    help="Launch a virtualised datacenter, watch it, use it, shut it down.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up)
app.command()(down)
app.command()(status)
app.add_typer(clusters, name="cluster")
hosts.add_typer(host_orders)
app.add_typer(hosts, name="host")
vms.add_typer(vm_orders)
vms.add_typer(vm_migrate)
app.add_typer(vms, name="vm")
app.add_typer(datastores, name="datastore")
app.add_typer(clients, name="client")
app.add_typer(failovers, name="failover")
app.add_typer(migrations, name="migration")
app.command()(events)
app.add_typer(tasks, name="task")
app.add_typer(observe, name="observe")
app.command()(sim)
chaos.add_typer(chaos_live)
app.add_typer(chaos, name="chaos")
app.command()(replay)
app.command()(validate)
app.command()(traces)


def main() -> None:
    """Run the command line and exit with its code."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_pipe()
    sys.exit(code)


@cache
def _command() -> Any:
    """Return the command with all its parts, which are dear to make."""
    return typer.main.get_command(app)


def run(arguments: Sequence[str]) -> int:
    """Carry out ``arguments``; return the exit code after having said what went wrong."""
    try:
        ended = _command().main(list(arguments), prog_name="fusion", standalone_mode=False)
        return ended if isinstance(ended, int) else ExitCode.DONE
    except FusionError as problem:
        return _failed(problem, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # Who read our output has left; typer turns that into an exit.
        _leave_pipe()
        return ExitCode.DONE
    except Exception as problem:
        if hasattr(problem, "format_message"):  # a usage error of typer's
            return _misused(problem, arguments)
        return _failed(_unexpected(problem), arguments)


def _failed(problem: FusionError, arguments: Sequence[str]) -> int:
    if os.environ.get("FUSION_DEBUG"):
        import traceback

        traceback.print_exc()
    output.error(problem)
    if "--json" in arguments and not isinstance(problem, BrokeDown):
        # On one line, as in the stream of 'events --follow'.
        output.line(output.error_document(problem))
    return exit_code_of(problem)


def _misused(problem: Exception, arguments: Sequence[str]) -> int:
    sentence = problem.format_message()  # type: ignore[attr-defined]
    sentence = sentence.replace(": Value error, ", ": ")  # pydantic's words, which say nothing
    context = getattr(problem, "ctx", None)
    if type(problem).__name__ == "NoArgsIsHelpError":
        print(sentence, file=sys.stderr)
        return ExitCode.BAD_INPUT
    place = context.command_path if context is not None else "fusion"
    return _failed(InvalidInput(f"{sentence.rstrip('.')}; see '{place} --help'"), arguments)


def _unexpected(problem: Exception) -> FusionError:
    if isinstance(problem, OSError):
        return FusionError(str(problem))
    return FusionError(
        f"{type(problem).__name__}: {problem} (a defect; FUSION_DEBUG=1 shows where)"
    )


def _leave_pipe() -> None:
    """Let whoever read our output go: what is still buffered has nowhere to be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
