"""A datacenter launched for real, for as long as a benchmark measures it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.datacenter_file import load
from cluster.live.processes import processes_of
from cluster.live.progress import Step
from cluster.live.run_state import RunState
from fusion.spec import Datacenter
from tests.live.launched import Launched

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_FOLDER_PREFIX = "fusion-benchmark-"

_BARE_RAY = """
import os, sys, time
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
import ray
started = time.perf_counter()
ray.init(address="local", include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[1])
print(time.perf_counter() - started)
ray.shutdown()
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """A running datacenter, and how many seconds after its start each step was complete."""

    datacenter: Datacenter
    state: RunState
    complete_s: Mapping[Step, float]

    def phases(self) -> str:
        """Return the launch's seconds by step."""
        before_s, told = 0.0, []
        for step in (Step.RAY, Step.VRM, Step.HOSTS, Step.VMS):
            told.append(f"{step.value} {self.complete_s[step] - before_s:.1f} s")
            before_s = self.complete_s[step]
        return ", ".join(told)

    def cpu_s(self) -> dict[str, float]:
        """Return the processor time so far of each of the run's processes, Ray's among them."""
        processes = (self.state.launcher, *processes_of(self.state))
        return {f"{process.what} {process.pid}": _cpu_s(process.pid) for process in processes}

    def scrape(self, process: str) -> str:
        """Return the page of ``process``'s /metrics."""
        with urllib.request.urlopen(self.state.metrics_urls[process], timeout=30) as answer:
            return str(answer.read().decode())


@contextmanager
def launched(source: str) -> Iterator[Measured]:
    """Launch ``source`` in a home of its own, and shut it down afterwards."""
    datacenter = load(source)
    running = sum(planned.start for planned in datacenter.vms)
    complete = {
        Step.RAY: 1,
        Step.VRM: 1,
        Step.HOSTS: len(datacenter.hosts),
        Step.VMS: running,
        Step.UP: 1,
    }
    with tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX) as home:
        started = time.perf_counter()
        launcher = Launched(Path(home), source)
        complete_s = {}
        try:
            for step, done in complete.items():
                launcher.until(step, done)
                complete_s[step] = time.perf_counter() - started
            yield Measured(datacenter, launcher.state, complete_s)
        finally:
            launcher.close()


def bare_ray_s() -> float:
    """Return how long Ray alone takes to start here and now, to judge other times by."""
    with tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX, ignore_cleanup_errors=True) as folder:
        answer = subprocess.run(
            [sys.executable, "-c", _BARE_RAY, folder],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    return float(answer.stdout)


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0  # it ended meanwhile
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND
