"""A launcher under test: its progress, what runs because of it, and what it leaves."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc

from cluster.live import run_state
from cluster.live.network import LiveNetwork
from cluster.live.ports import is_free
from cluster.live.power import LivePower
from cluster.live.process_table import listed
from cluster.live.processes import processes_of
from cluster.live.progress import Progress, Step
from cluster.live.run_state import Process, RunState
from cluster.rpc.convert import HOST_STATE_OF, VM_STATE_OF
from cluster.rpc.v1 import agent_pb2, agent_pb2_grpc, vrm_pb2, vrm_pb2_grpc
from fusion.host import HostState
from fusion.vm import VmState

T = TypeVar("T")
LAUNCH_S = 90.0
SHUTDOWN_S = 30.0


def eventually(
    what: str, condition: Callable[[], T], within_s: float = 30.0, every_s: float = 0.1
) -> T:
    """Return the first true answer of ``condition``; fail, naming ``what``, where none comes."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        time.sleep(every_s)
    return answer


def becomes(question: Callable[[], object], expected: object, within_s: float = 30.0) -> None:
    """Wait until ``question`` is answered by ``expected``; fail with its last answer."""
    deadline = time.monotonic() + within_s
    while (answer := question()) != expected:
        assert time.monotonic() < deadline, f"not {expected} within {within_s} s: {answer}"
        time.sleep(0.1)


def free_address() -> str:
    """Return an address that launchers never choose: its port is one that the system deals out."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


class Launched:
    """One launcher process, with FUSION_HOME and other variables of its own."""

    def __init__(self, home: Path, *arguments: str, **variables: str) -> None:
        self.home = home
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("RAY_")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cluster.live.launcher", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,  # what is read ahead would be hidden from select
            start_new_session=True,
            env={**inherited, "FUSION_HOME": str(home), **variables},
        )
        self.progress: list[Progress] = []

    def until(self, step: Step, done: int = 0) -> Progress:
        """Return the first progress in ``step`` that is far enough."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            deadline = time.monotonic() + LAUNCH_S
            while True:
                assert selector.select(deadline - time.monotonic()), f"no {step}: {self.progress}"
                line = self.process.stdout.readline()
                assert line, f"the launcher ended before {step}: {self.progress}"
                progress = Progress.parse(line.decode())
                self.progress.append(progress)
                if progress.step is step and progress.done >= done:
                    return progress
                assert progress.step is not Step.FAILED, progress.text

    def failure(self) -> Progress:
        """Return the last progress of a launch that fails, once the launcher has ended."""
        assert self.process.stdout is not None
        output = self.process.stdout.read()  # communicate() would close the lifeline
        self.process.wait(SHUTDOWN_S)
        progress = [Progress.parse(line) for line in output.decode().splitlines()]
        assert progress, "the launcher said nothing"
        assert progress[-1].step is Step.FAILED, progress
        return progress[-1]

    @property
    def state(self) -> RunState:
        (file,) = self.home.glob("*/run.json")
        return run_state.read(file)

    def pid_of(self, name: str) -> int:
        return next(process.pid for process in self.state.processes if process.what == name)

    def hosts(self) -> dict[str, vrm_pb2.Host]:
        """Return the hosts by name, as the VRM has them."""
        query = vrm_pb2.ListHostsQuery()
        answer = self._ask(lambda vrm: vrm.ListHosts(query, timeout=5))
        return {host.spec.name: host for host in answer.hosts}

    def host_states(self) -> list[str]:
        """Return the states of all hosts, in their order."""
        return [HOST_STATE_OF[host.state].value for host in self.hosts().values()]

    def vm_states(self) -> list[str]:
        query = vrm_pb2.ListVmsQuery()
        answer = self._ask(lambda vrm: vrm.ListVms(query, timeout=5))
        return [VM_STATE_OF[vm.state].value for vm in answer.vms]

    def held(self) -> dict[str, tuple[str, VmState]]:
        """Return what hosts in use hold: host and state of each VM by its identity, each once."""
        hosts = self.hosts().values()
        in_use = (host for host in hosts if HOST_STATE_OF[host.state] is HostState.NORMAL)
        return asyncio.run(_held({host.address for host in in_use}))

    def _ask(self, question: Callable[[vrm_pb2_grpc.VrmStub], Awaitable[T]]) -> T:
        async def ask() -> T:
            async with grpc.aio.insecure_channel(self.state.vrm_address) as channel:
                return await question(vrm_pb2_grpc.VrmStub(channel))

        return asyncio.run(ask())

    def fusion(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the operator's."""
        return subprocess.run(
            [sys.executable, "-c", "from cluster.cli.entry import main; main()", *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "FUSION_HOME": str(self.home)},
        )

    def told(self, *words: str) -> Any:
        """Return what a command of the operator's prints as JSON."""
        done = self.fusion(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the launcher by a signal; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(SHUTDOWN_S)

    def close(self) -> None:
        """Whatever a test left undone."""
        if self.process.poll() is None:
            self.stop()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def brought_up(folder: Path, *arguments: str, **variables: str) -> Iterator[Launched]:
    """Launch in ``folder`` and wait until everything is up; the launcher ends with the block."""
    launched = Launched(folder / "home", *arguments, **variables)
    try:
        launched.until(Step.UP)
        yield launched
    finally:
        launched.close()


def power(launched: Launched, order: Callable[[LivePower], Awaitable[int]]) -> int:
    """Give ``order`` to the power control of all hosts, past the VRM; return what it answers."""

    async def give() -> int:
        network = LiveNetwork(launched.state.addresses.__getitem__)
        try:
            return await order(LivePower(network))
        finally:
            await network.close()

    return asyncio.run(give())


async def _held(addresses: set[str]) -> dict[str, tuple[str, VmState]]:
    found: dict[str, tuple[str, VmState]] = {}
    for address in sorted(addresses):
        async with grpc.aio.insecure_channel(address) as channel:
            stub = agent_pb2_grpc.AgentStub(channel)
            reply = await stub.ListHosts(agent_pb2.ListHostsRequest(), timeout=5)
        for host in reply.hosts:
            for vm in host.vms:
                assert vm.vm not in found, f"{vm.vm} is on {host.name} and on {found[vm.vm][0]}"
                found[vm.vm] = host.name, VM_STATE_OF[vm.state]
    return found


def assert_nothing_is_left(launched: Launched, last: RunState | None) -> None:
    """No process of that launch, no file of a run, no folder of Ray's, no port in use."""
    pid = launched.process.pid
    session = [process for process in listed() if process.session == pid]
    assert session == []
    assert list(launched.home.glob("*/run.json")) == []
    if last is None:
        return
    assert processes_of(last) == []
    assert last.ray_folder == "" or not Path(last.ray_folder).exists()
    ports = [int(address.rpartition(":")[2]) for address in last.addresses.values()]
    assert [port for port in ports if not is_free(port)] == []


def ports_of(processes: Sequence[Process]) -> list[str]:
    """Return the local addresses that ``processes`` listen on, as ``ss`` lists them."""
    listing = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
    pids = {f"pid={process.pid}," for process in processes}
    return [line.split()[3] for line in listing.splitlines() if any(pid in line for pid in pids)]


def datacenter_file(folder: Path, name: str, *lines: str, hosts: int = 3) -> str:
    """Write a small datacenter with a VM per host; ``lines`` are further keys of the file."""
    file = folder / f"{name}.yaml"
    file.write_text(
        "\n".join(
            (
                f"datacenter: {name}",
                "heartbeat: {interval: 500ms, misses: 3}",
                "tick: 500ms",
                "hosts:",
                f'  - {{name: "cna-{{:02d}}", count: {hosts}, sockets: 2, cores: 4, mhz: 2600, '
                "memory: 64GiB}",
                "vms:",
                f'  - {{name: "web-{{:02d}}", count: {hosts}, vcpus: 1, mhz: 2000, memory: 2GiB, '
                "boot: 500ms, ha: false}",
                *lines,
            )
        ),
        encoding="utf-8",
    )
    return str(file)
