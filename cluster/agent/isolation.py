"""Whether hosts are isolated, once they hear nothing of the VRM, and what they do then."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import grpc
import structlog

from cluster.agent.chassis import Chassis
from cluster.agent.connectivity import Connectivity
from cluster.agent.copies import Copies
from cluster.agent.holdings import HoldCause
from cluster.agent.host_clocks import HostClocks
from cluster.agent.notices import Notices
from cluster.agent.surroundings import Surroundings
from cluster.clock import Clock
from cluster.network import Network
from cluster.parties import ARBITER
from cluster.rpc.v1 import arbiter_pb2, arbiter_pb2_grpc
from fusion.policy.isolation import Action, Contacts, judge
from fusion.spec import IsolationResponse
from fusion.vm import VmState

log = structlog.get_logger()


class Isolation:
    """Looks for others only while the VRM is silent. The hosts of a process share their fate: the
    peers of each are those of its cluster in other processes.
    """

    def __init__(
        self,
        *,
        surroundings: Surroundings,
        interval_s: float,
        chassis: Chassis,
        copies: Copies,
        connectivity: Connectivity,
        notices: Notices,
        clock: Clock,
        clocks: HostClocks,
        network: Network,
    ) -> None:
        self._surroundings = surroundings
        self._interval_s = interval_s
        self._misses = surroundings.heartbeat_misses
        self._chassis = chassis
        self._copies = copies
        self._connectivity = connectivity
        self._notices = notices
        self._clock = clock
        self._clocks = clocks
        self._network = network
        self._cluster_of = {spec.name: spec.cluster for spec in chassis.specs}

    async def keep_watch(self) -> None:
        """While the VRM is silent, ask others whether they are there, for ever."""
        connectivity = self._connectivity
        while True:
            if connectivity.vrm_silent_from_s > self._clock.now():
                self._judge(peers={}, arbiter=False)
                await connectivity.vrm_doubted.come()
                await self._clock.sleep(connectivity.vrm_silent_from_s - self._clock.now())
            else:
                await self._look_around()
                alone = bool(self._connectivity.isolated)
                await self._clock.sleep(self._interval_s * (1 if alone else self._misses))

    async def _look_around(self) -> None:
        """Ask the arbitration address, and peers of every cluster here, until one answers."""
        clusters = dict.fromkeys(self._cluster_of[host] for host in self._chassis.powered)
        async with asyncio.TaskGroup() as asking:
            arbiter = asking.create_task(self._answers(ARBITER))
            first = {
                name: asking.create_task(self._any(self._peers(name)[:1])) for name in clusters
            }
        peers = {name: asked.result() for name, asked in first.items()}
        for name in clusters:
            others = self._peers(name)[1:]
            half = len(others) // 2
            for wave in (others[:half], others[half:]):
                if not (arbiter.result() or peers[name]):
                    peers[name] = await self._any(wave)
        self._judge(peers=peers, arbiter=arbiter.result())

    def _peers(self, cluster: str) -> Sequence[str]:
        """Return the hosts of a cluster in other processes, from those after ours in its order."""
        hosts = self._surroundings.hosts_of.get(cluster, ())
        ours = [place for place, host in enumerate(hosts) if host in self._cluster_of]
        after = ours[-1] + 1 if ours else 0
        return [host for host in hosts[after:] + hosts[:after] if host not in self._cluster_of]

    async def _any(self, peers: Sequence[str]) -> bool:
        """Whether any of ``peers``, who are all asked at once, answers."""
        async with asyncio.TaskGroup() as asking:
            asked = [asking.create_task(self._answers(peer)) for peer in peers]
        return any(one.result() for one in asked)

    async def _answers(self, peer: str) -> bool:
        stub = arbiter_pb2_grpc.ArbiterStub(self._network.channel(peer))
        try:
            await stub.Ping(arbiter_pb2.PingRequest(), timeout=self._interval_s)
        except grpc.aio.AioRpcError:
            return False
        return True

    def _judge(self, *, peers: Mapping[str, bool], arbiter: bool) -> None:
        """Say of every host whether it is isolated, and act on that; see the table of ``judge``."""
        now_s, known = self._clock.now(), self._connectivity.isolated
        vrm = now_s < self._connectivity.vrm_silent_from_s
        if vrm and not known:
            return
        powered = self._chassis.powered
        storage_less = self._connectivity.storage_less(powered, now_s)
        isolated: dict[str, int] = {}
        for host, incarnation in powered.items():
            contacts = Contacts(
                vrm=vrm,
                peers=peers.get(self._cluster_of[host], False),
                arbiter=arbiter,
                storage=host not in storage_less,
                lease=True,
            )
            before = known.get(host) == incarnation
            if judge(contacts, self._response(host)).condition.isolated:
                isolated[host] = incarnation
                self._act(host, contacts, before=before)
            elif before:
                self._tell("host.rejoined", host, "is not isolated any more", severe=False)
        self._connectivity.isolated = isolated

    def _response(self, host: str) -> IsolationResponse:
        responses = self._surroundings.isolation_response
        return responses.get(self._cluster_of[host], IsolationResponse.LEAVE_RUNNING)

    def _act(self, host: str, contacts: Contacts, *, before: bool) -> None:
        """Halt the VMs of an isolated host where its cluster wants that; say so the first time."""
        now_s, response = self._clock.now(), self._response(host)
        halted = [
            one
            for one in self._copies.active()
            if one.host == host
            and HoldCause.HAND_OVER not in one.causes  # its array says first whose it is
            and judge(replace(contacts, lease=one.leased(now_s)), response).action is Action.STOP
        ]
        if halted:
            with self._chassis.change() as fleet:
                for one in halted:
                    if fleet.state(host, one.vm) is VmState.STOPPED:
                        continue  # it shut down just now
                    fleet.stop(host, one.vm, force=True)
        if halted or not before:
            count = len(self._peers(self._cluster_of[host]))
            whom = f"neither the VRM, nor any of {count} peers, nor the arbitration address"
            runs_on = response is IsolationResponse.LEAVE_RUNNING
            done = "its VMs run on" if runs_on else f"it halted {len(halted)} of its VMs"
            self._tell(
                "host.isolated", host, f"is isolated: it reaches {whom}; {done}", severe=True
            )

    def _tell(self, kind: str, host: str, what: str, *, severe: bool) -> None:
        message = f"host {host} {what} (at {self._clocks.now(host):.3f} s of its clock)"
        self._notices.add(kind, message, host=host, severe=severe)
        self._chassis.vms_changed.set()
        log.warning(message, kind=kind)
