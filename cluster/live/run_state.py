"""What is running on this machine: one JSON file per datacenter, read by every command.

The folder is ``$FUSION_HOME``, or ``fusion`` under the user's XDG state folder. A datacenter has
``<home>/<name>/run.json`` while it is launched or runs, and a folder per run beside it for logs,
stores and the generated Prometheus configuration.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cluster.live.cabling import Cabling
from cluster.parties import VRM
from fusion.errors import FusionError


class NothingRuns(FusionError):
    """No datacenter of that name (or none at all) is running here."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of ours; ``started`` tells it from a later one that got the same pid."""

    pid: int
    started: str
    what: str


@dataclass(frozen=True, slots=True)
class RunState:
    """One launched datacenter. Addresses are ``host:port`` by logical name."""

    datacenter: str
    folder: str
    launcher: Process
    phase: str  # launching, or up
    speed: float = 1.0
    launched_at: float = 0.0  # Unix time
    ray_address: str = ""  # empty: a Ray of our own
    ray_folder: str = ""  # Ray's session folder, where it is ours to remove
    own_session: bool = False  # the launcher leads a session: who is in it is ours
    addresses: dict[str, str] = field(default_factory=dict)
    metrics_urls: dict[str, str] = field(default_factory=dict)
    observers: dict[str, str] = field(default_factory=dict)  # where Prometheus and Grafana answer
    cabling: Cabling | None = None  # None: everybody is on the machine's loopback
    processes: tuple[Process, ...] = ()

    @property
    def file(self) -> Path:
        return home() / self.datacenter / "run.json"

    @property
    def vrm_address(self) -> str:
        """Where operators reach the VRM. Raises ``NothingRuns`` while it has no address yet."""
        address = self.addresses.get(VRM)
        if address is None:
            raise NothingRuns(
                f"datacenter {self.datacenter} is still being launched; try again in a moment"
            )
        return address

    def save(self) -> None:
        """Write the file in one step, so that a reader sees the old or the new one."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        fresh.replace(self.file)

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)


def home() -> Path:
    """Return the folder of all datacenters of this user."""
    given = os.environ.get("FUSION_HOME")
    if given:
        return Path(given).absolute()  # processes of ours work in other folders
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "fusion"


def read(file: Path) -> RunState:
    """Return the run state in ``file``. Raises ``FusionError`` where it is damaged."""
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        raw["launcher"] = Process(**raw["launcher"])
        raw["cabling"] = Cabling(**raw["cabling"]) if raw.get("cabling") else None
        raw["processes"] = tuple(Process(**process) for process in raw["processes"])
        return RunState(**raw)
    except (ValueError, TypeError, KeyError) as error:
        raise FusionError(f"{file}: damaged ({error}); remove it by hand") from error


def running() -> list[RunState]:
    """Return every recorded datacenter, by name."""
    return [read(file) for file in sorted(home().glob("*/run.json"))]


def find(datacenter: str | None = None) -> RunState:
    """Return the run state of ``datacenter``, or of the only one.

    Raises ``NothingRuns`` with the way out where there is none, or more than one to choose from.
    """
    if datacenter is not None:
        file = home() / datacenter / "run.json"
        if not file.exists():
            raise NothingRuns(f"datacenter {datacenter} is not running; launch it with 'fusion up'")
        return read(file)
    found = running()
    if not found:
        raise NothingRuns("no datacenter is running; launch one with 'fusion up'")
    if len(found) > 1:
        names = ", ".join(state.datacenter for state in found)
        raise NothingRuns(
            f"several datacenters are running ({names}); say which: --datacenter NAME"
        )
    return found[0]
