"""A datacenter launched for real, for as long as a benchmark measures it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.live import run_state
from cluster.live.processes import processes_of, shut_down
from cluster.live.progress import Progress, Step
from cluster.live.run_state import RunState

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

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
class Launched:
    """A running datacenter, and how many seconds after its start each step was complete."""

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
def launched(source: str) -> Iterator[Launched]:
    """Launch ``source`` in a home of its own, and shut it down afterwards."""
    home = tempfile.mkdtemp(prefix="fusion-benchmark-")
    before = os.environ.get("FUSION_HOME")
    os.environ["FUSION_HOME"] = home
    try:
        with _launcher(source) as complete_s:
            yield Launched(run_state.find(), complete_s)
    finally:
        for left in run_state.running():
            shut_down(left)
        if before is None:
            del os.environ["FUSION_HOME"]
        else:
            os.environ["FUSION_HOME"] = before
        shutil.rmtree(home)


@contextmanager
def _launcher(source: str) -> Iterator[Mapping[Step, float]]:
    """Run a launcher, from the moment all is up; yield when each of its steps was complete."""
    command = [sys.executable, "-m", "cluster.live.launcher", source]
    started = time.perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as launcher:
        assert launcher.stdout is not None
        complete_s: dict[Step, float] = {}
        for line in launcher.stdout:
            progress = Progress.parse(line)
            assert progress.step is not Step.FAILED, progress.text
            if progress.done == progress.of:
                complete_s.setdefault(progress.step, time.perf_counter() - started)
        assert Step.UP in complete_s, "the launcher ended without a word"
        try:
            yield complete_s
        finally:
            launcher.send_signal(signal.SIGTERM)
            launcher.wait(60)


def bare_ray_s() -> float:
    """Return how long Ray alone takes to start here and now, to judge other times by."""
    folder = tempfile.mkdtemp(prefix="fusion-benchmark-")
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _BARE_RAY, folder],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    finally:
        shutil.rmtree(folder)
    return float(answer.stdout)


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0  # it ended meanwhile
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND
