"""A launch from its first step to its last, and keeping what was launched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from cluster.agent.arbiter import answer_pings
from cluster.agent.surroundings import Surroundings
from cluster.live import tls
from cluster.live.actors import (
    ArrayActor,
    ChassisActor,
    GatewayActor,
    Setting,
    VrmActor,
    save_datacenter,
)
from cluster.live.addresses import AddressBook
from cluster.live.cabling import CABLES
from cluster.live.experiment_book import ExperimentBook
from cluster.live.exporter import Exporter
from cluster.live.fault_book import FaultBook
from cluster.live.fault_watch import FaultWatch
from cluster.live.layout import Chassis, Pinned
from cluster.live.network import LiveNetwork, LiveServer
from cluster.live.observers import answers, started
from cluster.live.ports import LOOPBACK
from cluster.live.power_supply import Incarnations, PowerService, PowerSupply, Running
from cluster.live.preparation import Prepared
from cluster.live.processes import alive, processes_of
from cluster.live.progress import Progress, Step
from cluster.live.ray_address import is_loopback_only
from cluster.live.ray_world import LiveActor, Node, RayWorld
from cluster.live.run_state import Process
from cluster.live.stores import LiveStores
from cluster.live.tls import Tls
from cluster.live.watch import LaunchWatch
from cluster.metrics.discovery import Target
from cluster.metrics.experiments import ExperimentMetrics
from cluster.network import Plane
from cluster.observe import folder as observe_folder
from cluster.observe import programs
from cluster.observe.folder import DEFAULT_PROMETHEUS_URL
from cluster.observe.prometheus import ScrapeTls, prometheus_yml
from cluster.parties import ARBITER, BMC, GATEWAY, LAUNCHER
from fusion.errors import FusionError, InvalidInput, Refused
from fusion.spec import HostSpec

log = structlog.get_logger()

RAY_PARTS = ("gcs_server", "raylet")
_RAY_WATCH_S = 1.0
_LEAVE_S = 10.0  # how long leaving somebody's cluster may take


class Launch:
    """One datacenter: brings it up step by step, then stands by until it is to end."""

    def __init__(self, prepared: Prepared, tell: Callable[[Progress], None]) -> None:
        self._prepared = prepared
        self._datacenter = prepared.datacenter
        self._layout = prepared.layout
        self._state = prepared.state
        self._tell = tell
        self._ray = RayWorld()
        self._nodes: list[Node] = []
        self._tls: Tls | None = None
        self._watchers: set[asyncio.Task[None]] = set()
        self._supply: PowerSupply | None = None
        self._fault_watch: FaultWatch | None = None
        self._servers: list[LiveServer] = []  # gRPC ends a server that nobody holds
        self._joined = False

    async def run_until(
        self, stop: asyncio.Event, take_signals: Callable[[], None]
    ) -> Progress | None:
        """Launch and keep the datacenter until ``stop``; return the failure, if it is one.

        ``take_signals`` takes signals back from Ray, which sets handlers of its own. Processes
        of our own are still there afterwards: ending them is the sweeper's work.
        """
        running = asyncio.create_task(self._run(take_signals))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        failure = None
        if running.done():
            error = running.exception() or FusionError("the launcher ended by itself")
            log.error("failed", reason=str(error), exc_info=error)
            refused = isinstance(error, Refused | InvalidInput)
            text = str(error) if isinstance(error, FusionError) else repr(error)
            failure = Progress(Step.FAILED, text=text, refused=refused)
        log.info("shutting down", why="it was asked for" if failure is None else "it failed")
        if self._supply is not None:
            self._supply.close()
        for task in (running, *self._watchers):
            task.cancel()  # from here on deaths are no news
        if self._joined:
            await self._leave()
        return failure

    async def _run(self, take_signals: Callable[[], None]) -> None:
        began_s = time.monotonic()
        await self._start_ray()
        take_signals()
        await self._settle_addresses()
        observing = asyncio.create_task(self._start_observers())
        supply = await self._serve_power()
        await self._serve_arbiter()
        self._serve_metrics()
        self._watch_cables()
        keeping = [asyncio.create_task(self._keep(actor)) for actor in await self._start_pinned()]
        coming_up = asyncio.create_task(self._come_up(supply, observing, began_s))
        await _first_failure(*keeping, coming_up, asyncio.create_task(self._watch_ray()))

    async def _watch_ray(self) -> None:
        """Return never. Raises ``FusionError`` when a part of our own Ray died.

        Ray itself would end this process a minute later, in its own way.
        """
        parts = [process for process in self._state.processes if process.what in RAY_PARTS]
        while True:
            for part in parts:
                if not alive(part):
                    raise FusionError(f"{part.what}, a part of Ray, died")
            await asyncio.sleep(_RAY_WATCH_S)

    async def _come_up(
        self, supply: PowerSupply, observing: asyncio.Task[None], began_s: float
    ) -> None:
        watch = LaunchWatch(self._datacenter, self._network(), supply, self._tell)
        await watch.until_hosts_are_up()
        shortfall = await watch.until_vms_run()
        await observing
        self._record(phase="up")
        elapsed_s = time.monotonic() - began_s
        log.info("up", after_s=round(elapsed_s, 1), shortfall=shortfall)
        self._tell(Progress(Step.UP, 1, 1, shortfall or f"up after {elapsed_s:.1f} s"))

    async def _start_ray(self) -> None:
        wanted = self._prepared.ray
        if wanted is None:
            self._tell(Progress(Step.RAY, 0, 1, "starting Ray"))
            await self._ray.start(Path(self._state.ray_folder))
        else:
            self._tell(Progress(Step.RAY, 0, 1, f"connecting to Ray at {wanted.address}"))
            run = Path(self._state.folder).name
            namespace = f"fusion-{self._datacenter.name}-{run}"
            await self._ray.join(wanted.address, namespace, is_loopback_only(wanted))
            self._joined = True
        self._nodes = await self._ray.nodes()
        self._record(processes=(*self._state.processes, *processes_of(self._state)))
        self._tell(Progress(Step.RAY, 1, 1, f"Ray is up on {len(self._nodes)} node(s)"))

    async def _settle_addresses(self) -> None:
        """Now that the nodes are known: who is where, and how connections are protected."""
        if not all(node.here for node in self._nodes):
            self._tls = tls.needed_beyond_this_machine()
        vrm_http = f"http://{LOOPBACK}:{self._layout.vrm.metrics_port}"
        metrics_urls = {
            pinned.name: f"http://{LOOPBACK}:{pinned.metrics_port}/metrics"
            for pinned in self._layout.pinned
        }
        metrics_urls[LAUNCHER] = f"http://{self._metrics_address()}/metrics"
        self._record(metrics_urls=metrics_urls, launched_at=time.time())
        settings = [
            (chassis, self._chassis_setting(chassis, self._node_of(number)))
            for number, chassis in enumerate(self._layout.chassis)
        ]
        self._record(**self._whereabouts(settings))
        self._write_what_observers_need(f"{vrm_http}/discovery")

    def _write_what_observers_need(self, discovery_url: str) -> None:
        """For those that we start, and for those that somebody else does."""
        ports = self._prepared.observer_ports
        tls = _scrape_tls(self._tls) if self._tls else None
        observe_folder.write(
            Path(self._state.folder),
            self._datacenter,
            programs.prometheus_url(ports) if ports else DEFAULT_PROMETHEUS_URL,
            prometheus_yml(self._datacenter.name, discovery_url, tls),
        )

    async def _start_observers(self) -> None:
        """Start Prometheus and Grafana, where they are on this machine and are wanted.

        The datacenter does not depend on them: one that does not answer is a line of the log.
        """
        ports, folder = self._prepared.observer_ports, Path(self._state.folder)
        for program in programs.programs(folder, ports) if ports else ():
            try:
                process = started(program, folder / "logs" / f"{program.name}.log")
            except OSError as error:
                log.error("does not start", program=program.name, reason=str(error))
                continue
            self._record(processes=(*self._state.processes, process))
            if await answers(program, process):
                self._record(observers={**self._state.observers, program.name: program.url})

    def _whereabouts(self, settings: Sequence[tuple[Chassis, Setting]]) -> dict[str, Any]:
        """Return the recorded addresses with those of ``settings`` in place."""
        addresses = dict(self._state.addresses)
        metrics = dict(self._state.metrics_urls)
        for chassis, setting in settings:
            names = (chassis.name, *(host.name for host in chassis.hosts))
            addresses |= dict.fromkeys(names, setting.address)
            metrics[chassis.name] = setting.metrics_url
        return {"addresses": addresses, "metrics_urls": metrics}

    async def _serve_power(self) -> PowerSupply:
        network = self._network(self._beyond_loopback(BMC, self._layout.bmc_port))
        store = LiveStores(Path(self._state.folder)).open("power")
        supply = PowerSupply(
            self._layout.chassis, self._start_chassis, network, Incarnations(store)
        )
        self._servers.append(await network.serve(BMC, PowerService(supply).register, Plane.BMC))
        self._supply = supply
        return supply

    async def _serve_arbiter(self) -> None:
        network = self._network(self._beyond_loopback(ARBITER, self._layout.arbiter_port))
        self._servers.append(await network.serve(ARBITER, answer_pings))

    def _serve_metrics(self) -> None:
        """Tell of experiments: the launcher is the one that no fault befalls."""
        book = ExperimentBook(Path(self._state.folder))
        Exporter(self._metrics_address(), [ExperimentMetrics(self._datacenter.name, book.names)])

    def _metrics_address(self) -> str:
        return f"{LOOPBACK}:{self._layout.launcher_metrics_port}"

    def _watch_cables(self) -> None:
        """Have cables pulled out by the faults that are about them, as long as this goes on."""
        if self._prepared.cables is not None:
            self._fault_watch = FaultWatch(FaultBook(Path(self._state.folder)), CABLES)
            self._fault_watch.follow(self._prepared.cables.suffer)
            self._fault_watch.start()

    async def _start_pinned(self) -> list[LiveActor]:
        """Start what keeps a store, at once: the VRM waits for arrays, not they for it."""
        datacenter, layout = self._datacenter, self._layout
        self._tell(Progress(Step.VRM, 0, 1, "starting the VRM and what keeps the storage"))
        save_datacenter(datacenter, Path(self._state.folder))
        starts = [self._start_one(layout.vrm, VrmActor, self._neighbours())]
        for pinned, spec in zip(layout.arrays, datacenter.arrays, strict=True):
            starts.append(self._start_one(pinned, ArrayActor, spec, datacenter.lease_s))
        if layout.gateway is not None:
            interval_s = datacenter.heartbeat_interval_s
            starts.append(
                self._start_one(layout.gateway, GatewayActor, datacenter.clients, interval_s)
            )
        actors = await asyncio.gather(*starts)
        where = f"{LOOPBACK}:{layout.vrm.port}"
        self._tell(Progress(Step.VRM, 1, 1, f"the VRM answers at {where}"))
        return actors

    def _neighbours(self) -> tuple[Target, ...]:
        """Return what Prometheus is to scrape beside the VRM and the hosts that it knows."""
        arrays, gateway = self._layout.arrays, self._layout.gateway
        roles = [("array", array.name) for array in arrays]
        roles += [(GATEWAY, gateway.name)] if gateway else []
        roles.append((LAUNCHER, LAUNCHER))
        return tuple(Target(role, name, self._state.metrics_urls[name]) for role, name in roles)

    async def _start_one(self, pinned: Pinned, actor_class: type, *args: Any) -> LiveActor:
        here = f"{self._nodes[0].address}:{pinned.port}"
        setting = replace(
            self._setting(pinned.name, LOOPBACK, pinned.port, pinned.metrics_port),
            public_address=here if self._tls else "",
        )
        actor = await self._ray.create(
            pinned.name, actor_class, (setting, *args), self._nodes[0], restarts=-1
        )
        self._note(actor)
        return actor

    async def _start_chassis(
        self,
        chassis: Chassis,
        hosts: tuple[tuple[HostSpec, int], ...],
        died: Callable[[], None],
    ) -> Running:
        datacenter = self._datacenter
        node = await self._living_node_of(self._layout.chassis.index(chassis))
        setting = self._chassis_setting(chassis, node)
        if self._state.addresses[chassis.name] != setting.address:
            self._record(**self._whereabouts([(chassis, setting)]))
        args = (
            setting,
            hosts,
            datacenter.tick_s,
            datacenter.heartbeat_interval_s,
            Surroundings.of(datacenter),
        )
        actor = await self._ray.create(chassis.name, ChassisActor, args, node)
        self._note(actor)
        self._watch_death(actor, died)
        return actor

    def _watch_death(self, actor: LiveActor, died: Callable[[], None]) -> None:
        async def watch() -> None:
            reason = await actor.death()
            log.info("process is gone", process_name=actor.name, reason=reason)
            self._forget(actor.process)
            died()

        task = asyncio.create_task(watch())
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    async def _keep(self, actor: LiveActor) -> None:
        """Stand by; whenever Ray restarted ``actor``, note which process it is now."""
        while True:
            reason = await actor.death()
            log.error(f"the process of {actor.name} died; Ray restarts it", reason=reason)
            self._forget(actor.process)
            await actor.reborn()
            self._note(actor)
            log.info(f"{actor.name} is back", pid=actor.process and actor.process.pid)

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(_LEAVE_S):
                await self._ray.leave()
        except TimeoutError:
            log.error("leaving the Ray cluster takes too long; its driver just ends")

    def _node_of(self, chassis_number: int) -> Node:
        return self._nodes[chassis_number % len(self._nodes)]

    async def _living_node_of(self, chassis_number: int) -> Node:
        """Return the chassis's node, or another one where that has died since."""
        node = self._node_of(chassis_number)
        if not self._joined:
            return node
        living = await self._ray.nodes()
        return node if node in living else living[chassis_number % len(living)]

    def _chassis_setting(self, chassis: Chassis, node: Node) -> Setting:
        host = LOOPBACK if node.here else node.address
        setting = self._setting(chassis.name, host, chassis.port, chassis.metrics_port)
        if node.here:
            return setting
        here = self._nodes[0].address
        ours = {one.name: f"{here}:{one.port}" for one in self._layout.pinned}
        ours[ARBITER] = f"{here}:{self._layout.arbiter_port}"
        return replace(setting, addresses={**setting.addresses, **ours})

    def _setting(self, name: str, host: str, port: int, metrics_port: int) -> Setting:
        return Setting(
            datacenter=self._datacenter.name,
            name=name,
            address=f"{host}:{port}",
            metrics_address=f"{host}:{metrics_port}",
            folder=self._state.folder,
            run_file=str(self._state.file),
            addresses=self._state.addresses,
            launched_at=self._state.launched_at,
            speed=self._state.speed,
            tls=self._tls,
            cabling=self._state.cabling,
        )

    def _network(self, public_address: str = "") -> LiveNetwork:
        """Return the launcher's own network; its time limits are wall seconds."""
        book, cabling = AddressBook(self._state.file, self._state.addresses), self._state.cabling
        return LiveNetwork(book, tls=self._tls, public_address=public_address, cabling=cabling)

    def _beyond_loopback(self, name: str, port: int) -> str:
        """Return where we answer as ``name`` besides, if anybody is anywhere else."""
        if self._state.cabling is not None:
            return self._state.cabling.address_of(name)
        return f"{self._nodes[0].address}:{port}" if self._tls else ""

    def _note(self, actor: LiveActor) -> None:
        """Record the process of ``actor``, which Ray may have started before it was that."""
        if actor.process is not None:
            self._record(processes=(*self._without(actor.process), actor.process))

    def _forget(self, process: Process | None) -> None:
        if process is not None:
            self._record(processes=self._without(process))

    def _without(self, process: Process) -> tuple[Process, ...]:
        known = (process.pid, process.started)
        return tuple(one for one in self._state.processes if (one.pid, one.started) != known)

    def _record(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)
        self._state.save()


async def _first_failure(*tasks: asyncio.Task[None]) -> None:
    """Wait until one of ``tasks`` failed, and fail the same way; none outlives the waiting."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()


def _scrape_tls(files: Tls) -> ScrapeTls:
    """Return what Prometheus needs to scrape processes elsewhere."""
    return ScrapeTls(files.ca, files.certificate, files.key, tls.COMMON_NAME)
