"""``observe``: what Prometheus and Grafana need to watch a datacenter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.cli import output
from cluster.cli.options import Datasets, Json, Speed

observe = typer.Typer(help="Alert rules and dashboards.", no_args_is_help=True)


@observe.callback()
def _group() -> None:
    """Keep ``write`` a command of its own, though it is the only one."""


@observe.command("write")
def write(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made if need be.")],
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A datacenter file, or a packaged scenario by name."),
    ] = "demo",
    *,
    speed: Speed = None,
    datasets: Datasets = None,
    json: Json = False,
) -> None:
    """Write alert and recording rules, dashboards and Grafana's provisioning into a folder.

    How long alerts wait comes from the file's heartbeats and its speed. A launch writes the same
    into the folder of its run, with a configuration of Prometheus for that run.
    """
    from cluster.datacenter_file import load
    from cluster.observe import folder as observe_folder

    datacenter = load(source, speed=speed, datasets=datasets)
    files = observe_folder.write(folder, datacenter)
    if json:
        output.document({"datacenter": datacenter.name, "files": [str(file) for file in files]})
        return
    for file in files:
        print(file)
