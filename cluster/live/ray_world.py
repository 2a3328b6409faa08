"""Ray, as far as a launch uses it: starting one or joining one, and processes on its nodes.

Ray is imported here only, and inside functions: the import alone takes a second.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from cluster.live import process_table
from cluster.live.actors import Birth
from cluster.live.processes import RAY_FOLDER_PREFIX
from cluster.live.run_state import Process
from fusion.errors import FusionError

T = TypeVar("T")
log = structlog.get_logger()

_OBJECT_STORE_BYTES = 80 << 20  # Ray's least is 75 MiB; nothing of ours travels through it
_SOCKET_PATH_LIMIT = 40  # what Ray appends must stay below the 107 of a unix socket's path


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster; ``here``: it is this machine."""

    id: str
    address: str
    here: bool


class RayWorld:
    """One connection to Ray; all calls go through one thread, which lives as long as it.

    (Ray's processes are bound to the thread that started them: they die with it.)
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ray")
        self._machine = socket.gethostname()
        self._actors: list[LiveActor] = []

    async def start(self, folder: Path) -> None:
        """Start a Ray of our own, on loopback only, with all its files in ``folder``."""
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # what makes it stay on loopback
        # Heartbeats must not wait for lesser work.
        os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
        os.environ.pop("RAY_ADDRESS", None)
        await self._init(
            address="local",
            include_dashboard=False,
            _temp_dir=str(folder),
            object_store_memory=_OBJECT_STORE_BYTES,
            num_cpus=os.cpu_count() or 1,
        )

    async def join(self, address: str, namespace: str) -> None:
        """Connect to a cluster that runs already."""
        await self._init(address=address, namespace=namespace)

    async def _init(self, **settings: Any) -> None:
        def init() -> None:
            import ray

            ray.init(
                log_to_driver=False,
                logging_level=logging.WARNING,
                configure_logging=False,
                **settings,
            )

        try:
            await self.call(init)
        except (Exception, SystemExit) as error:
            raise FusionError(f"Ray does not start: {_first_line(error)}") from error

    async def call(self, function: Callable[[], T]) -> T:
        """Run ``function`` in Ray's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def nodes(self) -> list[Node]:
        """Return the living nodes, the driver's own first."""

        def living() -> list[Node]:
            import ray

            own = ray.get_runtime_context().get_node_id()
            found = [
                Node(raw["NodeID"], raw["NodeManagerAddress"], _is_here(raw["NodeManagerAddress"]))
                for raw in ray.nodes()  # type: ignore[no-untyped-call]
                if raw["Alive"]
            ]
            return sorted(found, key=lambda node: (node.id != own, node.address, node.id))

        return await self.call(living)

    async def create(
        self, name: str, actor_class: type, args: tuple[Any, ...], node: Node, restarts: int = 0
    ) -> LiveActor:
        """Start an actor on ``node`` and return it once it serves.

        Raises ``FusionError`` with the reason where it does not.
        """

        def remote() -> Any:
            import ray
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            return (
                ray.remote(actor_class)
                .options(
                    name=name,
                    num_cpus=0,
                    max_restarts=restarts,
                    max_task_retries=0,
                    max_concurrency=4,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
                )
                .remote(*args)
            )

        actor = LiveActor(name, await self.call(remote), self._machine)
        self._actors.append(actor)
        try:
            await actor.be_born()
        except FusionError:
            await actor.kill()
            raise
        return actor

    async def leave(self) -> None:
        """End every process that was started here and disconnect from the cluster."""
        await asyncio.gather(*(actor.kill() for actor in self._actors), return_exceptions=True)

        def shutdown() -> None:
            import ray

            ray.shutdown()

        await self.call(shutdown)


class LiveActor:
    """An actor process: its identity while it lives, and word of its death."""

    def __init__(self, name: str, handle: Any, machine: str) -> None:
        self.name = name
        self._handle = handle
        self._machine = machine
        self._watch: Any = None
        #: The process, where it is on this machine.
        self.process: Process | None = None

    async def be_born(self) -> None:
        """Wait until it serves, after its creation or a restart. Raises ``FusionError``."""
        try:
            birth: Birth = await asyncio.wrap_future(self._handle.birth.remote().future())
            self._watch = self._handle.until_death.remote()
        except Exception as error:
            raise FusionError(f"the process of {self.name} died: {_first_line(error)}") from error
        if birth.failure:
            raise FusionError(birth.failure)
        self.process = birth.process if birth.machine == self._machine else None

    async def death(self) -> str:
        """Return, once the process is gone, what Ray says about why."""
        try:
            await asyncio.wrap_future(self._watch.future())
        except Exception as error:
            return _first_line(error)
        return "it ended by itself"

    async def kill(self) -> None:
        """End the process for good; returns when it is gone, also if it was stopped (hung)."""

        def kill() -> None:
            import ray

            ray.kill(self._handle, no_restart=True)

        await asyncio.get_running_loop().run_in_executor(None, kill)
        if self.process is not None:
            process_table.send(self.process, signal.SIGKILL)
            while process_table.alive(self.process):  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.02)
        elif self._watch is not None:
            await self.death()


def new_folder() -> Path:
    """Return an empty folder for Ray's files, with a path short enough for its sockets."""
    base = tempfile.gettempdir()
    if len(base) > _SOCKET_PATH_LIMIT - len(RAY_FOLDER_PREFIX) - 8:
        base = "/tmp"
    return Path(tempfile.mkdtemp(prefix=RAY_FOLDER_PREFIX, dir=base))


def _is_here(address: str) -> bool:
    """Tell whether ``address`` is one of this machine: only then can it be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
