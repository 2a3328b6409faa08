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
_INIT_S = 90.0
_UNAVAILABLE_S = 0.25
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
        _keep_to_loopback()
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
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

    async def join(self, address: str, namespace: str, loopback_only: bool) -> None:
        """Connect to a cluster that runs already. Raises ``FusionError`` where that fails."""
        if loopback_only:
            _keep_to_loopback()
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
            async with asyncio.timeout(_INIT_S):
                await self.call(init)
        except TimeoutError:
            raise FusionError(
                f"Ray is not ready after {_INIT_S:.0f} s; where it is a cluster that uses token "
                "authentication, set RAY_AUTH_MODE=token and its token here as well"
            ) from None
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

        # Ray lets go of a dead actor's name only after a while.
        birth = 1 + sum(actor.name == name for actor in self._actors)
        ray_name = name if birth == 1 else f"{name}#{birth}"

        def remote() -> Any:
            import ray
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            return (
                ray.remote(actor_class)
                .options(
                    name=ray_name,
                    num_cpus=0,
                    max_restarts=restarts,
                    max_task_retries=0,
                    max_concurrency=4,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
                )
                .remote(*args)
            )

        try:
            handle = await self.call(remote)
        except Exception as error:
            raise FusionError(f"Ray does not start {name}: {_first_line(error)}") from error
        actor = LiveActor(name, handle, self._machine)
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
        #: The process, where it is on this machine.
        self.process: Process | None = None

    async def be_born(self) -> None:
        """Wait until it serves, after its creation or a restart. Raises ``FusionError``."""
        try:
            birth: Birth = await self._ask("birth")
        except Exception as error:
            raise FusionError(f"the process of {self.name} died: {_first_line(error)}") from error
        self.process = birth.process if birth.machine == self._machine else None
        if birth.failure:
            raise FusionError(birth.failure)

    async def death(self) -> str:
        """Return, once the process is gone, what Ray says about why."""
        from ray.exceptions import ActorUnavailableError

        while True:
            try:
                await self._ask("until_death")
            except ActorUnavailableError as error:
                # Dead, or only cut off for a moment: Ray cannot tell, the machine can.
                if self.process is not None and not process_table.alive(self.process):
                    return _first_line(error)
                await asyncio.sleep(_UNAVAILABLE_S)
            except Exception as error:
                return _first_line(error)

    async def reborn(self) -> None:
        """Wait until Ray has restarted it and it serves again."""
        from ray.exceptions import ActorUnavailableError

        while True:
            try:
                await self.be_born()
            except FusionError as error:
                if not isinstance(error.__cause__, ActorUnavailableError | None):
                    raise
                log.warning("not back yet", process_name=self.name, reason=str(error))
                if error.__cause__ is None:  # it is there, but cannot serve: once more
                    await self._end(for_good=False)
                await asyncio.sleep(_UNAVAILABLE_S)
            else:
                return

    async def kill(self) -> None:
        """End the process for good; returns when it is gone, also if it was stopped (hung)."""
        await self._end(for_good=True)
        if self.process is not None:
            process_table.send(self.process, signal.SIGKILL)
            while process_table.alive(self.process):  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.02)

    async def _end(self, for_good: bool) -> None:
        def kill() -> None:
            import ray

            ray.kill(self._handle, no_restart=for_good)

        await asyncio.get_running_loop().run_in_executor(None, kill)

    async def _ask(self, method: str) -> Any:
        answer = asyncio.wrap_future(getattr(self._handle, method).remote().future())
        # Ray stumbles over an answer that was cancelled: it comes, whether awaited or not.
        answer.add_done_callback(lambda come: come.cancelled() or come.exception())
        return await asyncio.shield(answer)


def new_folder() -> Path:
    """Return an empty folder for Ray's files, with a path short enough for its sockets."""
    base = tempfile.gettempdir()
    if len(base) > _SOCKET_PATH_LIMIT - len(RAY_FOLDER_PREFIX) - 8:
        base = "/tmp"
    return Path(tempfile.mkdtemp(prefix=RAY_FOLDER_PREFIX, dir=base))


def _keep_to_loopback() -> None:
    """Make Ray, which is not imported yet, bind and use loopback addresses."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


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
