"""``validate`` and ``traces``: what a datacenter is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.cli import output
from cluster.cli.options import Datasets, Json, Speed
from fusion.errors import InvalidInput, Refused
from fusion.units import format_mhz, format_size

#: Ten thousand VMs for five weeks.
MAX_SAMPLES = 100_000_000


def validate(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="A datacenter file, or a packaged scenario.")
    ],
    *,
    speed: Speed = None,
    datasets: Datasets = None,
    json: Json = False,
) -> None:
    """Check a datacenter file without launching anything; every mistake is named at once."""
    from cluster.datacenter_file import load

    found = load(source, speed=speed, datasets=datasets)
    cpu_mhz = sum(host.vm_cpu_mhz for host in found.hosts)
    memory_bytes = sum(host.vm_memory_bytes for host in found.hosts)
    if json:
        output.document(
            {
                "valid": True,
                "datacenter": found.name,
                "clusters": len(found.clusters),
                "hosts": len(found.hosts),
                "vms": len(found.vms),
                "cpu_capacity_mhz": cpu_mhz,
                "memory_bytes": memory_bytes,
            }
        )
        return
    print(
        f"{source} is valid: datacenter {found.name} with {_count(len(found.clusters), 'cluster')},"
        f" {_count(len(found.hosts), 'host')} ({format_mhz(cpu_mhz)} and "
        f"{format_size(memory_bytes)} for VMs) and {_count(len(found.vms), 'VM')}"
    )


def traces(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made if need be.")],
    *,
    count: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="How many VMs.")],
    samples: Annotated[
        int, typer.Option(min=1, max=1_000_000, metavar="N", help="Lines of each; 288 is a day.")
    ] = 288,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed, the same traces.")] = 1,
    json: Json = False,
) -> None:
    """Write synthetic CPU traces in the PlanetLab format: one integer per cent a line."""
    from fusion.guest.trace import format_trace, synthetic_traces
    from fusion.seeds import generator

    if count * samples > MAX_SAMPLES:
        raise InvalidInput(
            f"--count times --samples: {count * samples:,} is too much; at most {MAX_SAMPLES:,}"
        )
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder}: not a folder; name one that is empty or is still to be made")
    if folder.is_dir() and any(folder.iterdir()):
        raise Refused(f"{folder}: not empty, and nothing is overwritten; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{folder}: cannot be made: {error.strerror}; name another") from error
    digits = max(4, len(str(count)))
    for number, trace in enumerate(
        synthetic_traces(count, samples, generator(seed, "traces")), start=1
    ):
        (folder / f"vm-{number:0{digits}d}").write_text(format_trace(trace), encoding="ascii")
    if json:
        output.document({"folder": str(folder), "traces": count, "samples": samples, "seed": seed})
    else:
        print(f"{folder}: {_count(count, 'trace')} of {_count(samples, 'sample')}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
