"""The Ray actors: one process for a chassis with its hosts, one for the VRM.

Plain classes: everything starts in ``__init__``, because that is all that Ray runs again after a
restart. Between the parties goes gRPC; Ray only starts and ends these processes.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from cluster import policy
from cluster.agent.surroundings import Surroundings
from cluster.live import logs
from cluster.live.addresses import AddressBook
from cluster.live.cabling import Cabling
from cluster.live.clock import LiveClock
from cluster.live.datastore_faults import DatastoreFaults
from cluster.live.exporter import Exporter
from cluster.live.fault_book import FaultBook, WrittenFault
from cluster.live.fault_watch import FaultWatch
from cluster.live.guest_faults import GuestFaults
from cluster.live.held_back import hold_back
from cluster.live.host_faults import HostFaults
from cluster.live.links import Links
from cluster.live.network import Faults, LiveNetwork
from cluster.live.process_table import myself
from cluster.live.role_thread import start_role
from cluster.live.run_state import Process
from cluster.live.tls import Tls
from cluster.metrics.discovery import Target
from cluster.role import Endpoint
from fusion import seeds
from fusion.errors import FusionError
from fusion.spec import ArraySpec, ClientSpec, Datacenter, HostSpec

_DATACENTER_FILE = "datacenter.pickle"


@dataclass(frozen=True, slots=True)
class Setting:
    """What the live world tells a process about itself and its surroundings."""

    datacenter: str
    name: str
    address: str
    metrics_address: str
    folder: str
    run_file: str
    addresses: Mapping[str, str]
    launched_at: float
    speed: float
    tls: Tls | None = None
    public_address: str = ""
    cabling: Cabling | None = None

    def clock(self) -> LiveClock:
        return LiveClock(self.launched_at, self.speed)

    def network(self, faults: Faults | None = None) -> LiveNetwork:
        """Return the network of the process under ``faults``, of its own unless they are given.

        Where that is one of namespaces, this thread is in its own from then on.
        """
        faults = faults or self.faults()
        if self.cabling is None:
            book = self._address_book()
            return LiveNetwork(book, self.speed, self.tls, self.public_address, faults)
        self.cabling.enter(self.name)
        return LiveNetwork(
            self.cabling.address_of,
            self.speed,
            public_address=self.address,
            faults=faults,
            cabling=self.cabling,
        )

    def faults(self) -> Faults:
        """Return what may befall the process."""
        rng = seeds.generator(0, "links", self.name, str(os.getpid()))
        links = Links(self.name, self._address_book().sharing, self.speed, rng)
        watch = FaultWatch(FaultBook(Path(self.folder)), self.name)

        def suffer(in_force: Sequence[WrittenFault]) -> list[WrittenFault]:
            return links.suffer([each for each in in_force if not self._is_of_a_cable(each)])

        watch.follow(suffer)
        return Faults(links, watch)

    def _is_of_a_cable(self, written: WrittenFault) -> bool:
        return self.cabling is not None and bool(self.cabling.unplugged(written.fault))

    def _address_book(self) -> AddressBook:
        return AddressBook(Path(self.run_file), self.addresses)

    @property
    def metrics_url(self) -> str:
        secure = self.tls is not None and not self.metrics_address.startswith("127.0.0.1:")
        return f"{'https' if secure else 'http'}://{self.metrics_address}/metrics"

    def endpoint(self) -> Endpoint:
        return Endpoint(self.name, self.address, self.metrics_url, os.getpid())


def save_datacenter(datacenter: Datacenter, folder: Path) -> None:
    """Leave ``datacenter`` for the VRM of the run in ``folder``."""
    (folder / _DATACENTER_FILE).write_bytes(pickle.dumps(datacenter))


def load_datacenter(folder: Path) -> Datacenter:
    """Return the datacenter of the run in ``folder``."""
    datacenter = pickle.loads((folder / _DATACENTER_FILE).read_bytes())
    assert isinstance(datacenter, Datacenter)
    return datacenter


@dataclass(frozen=True, slots=True)
class Birth:
    """Which process an actor became, on which machine; ``failure`` says why it does not serve."""

    process: Process
    machine: str
    failure: str = ""


class _Actor:
    """What the launcher asks of every actor: who it is, and to be told when it is no more."""

    def __init__(self, setting: Setting) -> None:
        logs.write_to(Path(setting.folder) / "logs", setting.name)
        log = structlog.get_logger()
        hold_back(FaultBook(Path(setting.folder)), setting.name)
        log.info("starting", pid=os.getpid(), address=setting.address)
        self._name = setting.name
        self._failure = ""
        try:
            self._start(setting)
        except Exception as error:
            # Said in birth(): through Ray an exception would come as a page of traceback.
            log.exception("cannot start")
            kind = "" if isinstance(error, FusionError) else f"{type(error).__name__}: "
            self._failure = f"{kind}{error}"
        else:
            log.info("serving", pid=os.getpid(), address=setting.address)

    def _start(self, setting: Setting) -> None:
        raise NotImplementedError

    def birth(self) -> Birth:
        return Birth(myself(self._name), socket.gethostname(), self._failure)

    def until_death(self) -> None:
        """Never answer: the call fails when the process dies, wherever it is."""
        threading.Event().wait()


class ChassisActor(_Actor):
    """A process with the agent of one host, or of several packed together."""

    def __init__(
        self,
        setting: Setting,
        hosts: tuple[tuple[HostSpec, int], ...],
        tick_s: float,
        heartbeat_interval_s: float,
        surroundings: Surroundings,
    ) -> None:
        self._hosts = hosts
        self._surroundings = surroundings
        self._tick_s = tick_s
        self._heartbeat_interval_s = heartbeat_interval_s
        super().__init__(setting)

    def _start(self, setting: Setting) -> None:
        from cluster.agent.agent import Agent
        from cluster.metrics.agent import AgentMetrics
        from cluster.metrics.hosts import HostMetrics

        def make() -> Agent:
            faults = setting.faults()
            agent = Agent(
                hosts=self._hosts,
                endpoint=setting.endpoint(),
                tick_s=self._tick_s,
                heartbeat_interval_s=self._heartbeat_interval_s,
                clock=setting.clock(),
                network=setting.network(faults),
                surroundings=self._surroundings,
            )
            faults.watch.follow(GuestFaults(agent).suffer)
            faults.watch.follow(HostFaults(agent).suffer)
            return agent

        agent = start_role(setting.name, make)
        specs = [spec for spec, _ in self._hosts]
        hosts = HostMetrics(setting.datacenter, specs, lambda: agent.view)
        counters = AgentMetrics(setting.datacenter, setting.name, agent.counters)
        Exporter(setting.metrics_address, [hosts, counters], tls=setting.tls)


class ArrayActor(_Actor):
    """The process of a storage array; restarted by Ray, it finds its store again."""

    def __init__(self, setting: Setting, spec: ArraySpec, lease_s: float) -> None:
        self._spec = spec
        self._lease_s = lease_s
        super().__init__(setting)

    def _start(self, setting: Setting) -> None:
        from cluster.live.stores import LiveStores
        from cluster.storage.array import StorageArray

        def make() -> StorageArray:
            faults = setting.faults()
            array = StorageArray(
                spec=self._spec,
                endpoint=setting.endpoint(),
                lease_s=self._lease_s,
                clock=setting.clock(),
                network=setting.network(faults),
                stores=LiveStores(Path(setting.folder)),
                generator=seeds.generator(0, "array", setting.name),
            )
            names = [datastore.name for datastore in self._spec.datastores]
            faults.watch.follow(DatastoreFaults(names, array.fill).suffer)
            return array

        array = start_role(setting.name, make)
        Exporter(setting.metrics_address, array.collectors(setting.datacenter), tls=setting.tls)


class GatewayActor(_Actor):
    """The process of the gateway and of the clients that enter there."""

    def __init__(
        self, setting: Setting, clients: tuple[ClientSpec, ...], interval_s: float
    ) -> None:
        self._clients = clients
        self._interval_s = interval_s
        super().__init__(setting)

    def _start(self, setting: Setting) -> None:
        from cluster.gateway.gateway import Gateway
        from cluster.live.stores import LiveStores

        def make() -> Gateway:
            return Gateway(
                clients=self._clients,
                endpoint=setting.endpoint(),
                clock=setting.clock(),
                network=setting.network(),
                stores=LiveStores(Path(setting.folder)),
                interval_s=self._interval_s,
            )

        gateway = start_role(setting.name, make)
        Exporter(setting.metrics_address, gateway.collectors(setting.datacenter), tls=setting.tls)


class VrmActor(_Actor):
    """The process of the VRM; restarted by Ray, it finds its store again.

    The datacenter is in a file of the run's folder, as the store is: Ray may lose what is too
    large to be an argument of its own before it restarts the actor.
    """

    def __init__(self, setting: Setting, neighbours: tuple[Target, ...]) -> None:
        self._neighbours = neighbours
        super().__init__(setting)

    def _start(self, setting: Setting) -> None:
        from cluster.live.power import LivePower
        from cluster.live.stores import LiveStores
        from cluster.vrm.vrm import Vrm

        datacenter = load_datacenter(Path(setting.folder))
        policies = policy.made(policy.sources(datacenter))

        def make() -> Vrm:
            network = setting.network()
            return Vrm(
                datacenter=datacenter,
                endpoint=setting.endpoint(),
                world="live",
                clock=setting.clock(),
                network=network,
                power=LivePower(network),
                stores=LiveStores(Path(setting.folder)),
                policies=policies,
                neighbours=self._neighbours,
            )

        vrm = start_role(setting.name, make)
        Exporter(setting.metrics_address, vrm.collectors(), vrm.discovery)
