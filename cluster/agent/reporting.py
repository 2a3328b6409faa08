"""What hosts tell the VRM: that they are there, and at every heartbeat how they fare."""

from __future__ import annotations

import math

import grpc
import structlog

from cluster.agent.chassis import Chassis
from cluster.agent.connectivity import Connectivity
from cluster.agent.findings import Findings
from cluster.agent.membership import Membership
from cluster.agent.messages import ReportMessage, register_request
from cluster.agent.rhythm import Rhythm
from cluster.clock import Clock
from cluster.metrics.agent import AgentCounters, Outcome
from cluster.network import Network, Stubs
from cluster.parties import VRM
from cluster.role import Endpoint
from cluster.rpc.v1.registry_pb2_grpc import RegistryStub
from fusion.errors import Refused

log = structlog.get_logger()

#: Shares of a heartbeat interval: the pause between two prompt reports, and from one to the next
#: heartbeat (so that a boot storm does not become a storm of reports), and the first retry.
PROMPT_GAP = 0.1
FIRST_BACK_OFF = 0.125


class Outage:
    """Says once that calls fail, and once that they succeed again."""

    def __init__(self, what: str, clock: Clock) -> None:
        self._what = what
        self._clock = clock
        self._since_s: float | None = None

    def failed(self, reason: str) -> None:
        if self._since_s is None:
            self._since_s = self._clock.now()
            log.warning(f"{self._what} failed; trying until it succeeds", reason=reason)

    def over(self) -> None:
        if self._since_s is not None:
            lasting_s = self._clock.now() - self._since_s
            log.info(f"{self._what} succeeds again", outage_s=round(lasting_s, 3))
            self._since_s = None


class Reporter:
    """Registers the hosts of ``chassis`` at the VRM and sends one report for all of them.

    Two loops: a registration that hangs holds up no heartbeat of hosts already registered.
    """

    def __init__(
        self,
        *,
        chassis: Chassis,
        membership: Membership,
        findings: Findings,
        connectivity: Connectivity,
        endpoint: Endpoint,
        interval_s: float,
        clock: Clock,
        network: Network,
        counters: AgentCounters,
    ) -> None:
        self._chassis = chassis
        self._membership = membership
        self._findings = findings
        self._connectivity = connectivity
        self._endpoint = endpoint
        self._interval_s = interval_s
        self._clock = clock
        self._counters = counters
        self._registration_outage = Outage("registration at the VRM", clock)
        self._report_outage = Outage("heartbeat to the VRM", clock)
        self._message = ReportMessage()
        self._registries = Stubs(network, RegistryStub)

    async def keep_registered(self) -> None:
        """Register every powered host that the VRM does not know yet, for ever."""
        back_off_s = FIRST_BACK_OFF * self._interval_s
        while True:
            self._membership.changed.clear()
            incarnations = self._membership.unknown(self._chassis.powered)
            if not incarnations:
                await self._membership.changed.wait()
            elif await self._register(incarnations):
                back_off_s = FIRST_BACK_OFF * self._interval_s
                self._chassis.vms_changed.set()  # the news since the registration set out
            else:
                await self._clock.sleep(back_off_s)
                back_off_s = min(2 * back_off_s, self._interval_s)

    async def keep_reporting(self) -> None:
        """Send a report at every multiple of the interval, and soon after a VM's state changed."""
        self._connectivity.vrm_called(math.inf)  # who registers is not heard of in between
        await self._membership.joined.wait()
        heartbeats = Rhythm(self._clock.now(), self._interval_s)
        last_s = -math.inf
        while True:
            if heartbeats.interval_s != self._interval_s:  # the VRM wants another
                heartbeats = Rhythm(self._clock.now(), self._interval_s)
            due_s, gap_s = heartbeats.due_s, PROMPT_GAP * self._interval_s
            if await self._chassis.vms_changed.within(self._clock, due_s):
                now_s = self._clock.now()
                prompt_s = min(max(now_s, last_s + gap_s), due_s)
                await self._clock.sleep(prompt_s - now_s)  # what else changes goes with it
                last_s = self._clock.now()
                if last_s < due_s - gap_s:
                    await self._report(due_s - last_s, prompt=True)
                    continue
                await self._clock.sleep(due_s - last_s)
            last_s = self._clock.now()
            self._counters.lateness.add(max(0.0, last_s - due_s))
            heartbeats.kept(last_s)
            self._connectivity.vrm_called(heartbeats.due_s)
            await self._report(self._interval_s)

    async def _register(self, incarnations: dict[str, int]) -> bool:
        snapshot = self._chassis.snapshot()
        request = register_request(
            self._endpoint, self._chassis.specs, snapshot.view, incarnations, snapshot.sequence
        )
        self._findings.add_to_registration(request)
        try:
            reply = await self._registries[VRM].Register(request, timeout=self._interval_s)
            self._membership.hear(reply.vrm_generation)
        except (grpc.aio.AioRpcError, Refused) as failure:
            self._counters.registrations[Outcome.FAILED] += 1
            self._registration_outage.failed(_reason(failure))
            return False
        self._counters.registrations[Outcome.DONE] += 1
        self._findings.vrm_answered()
        self._registration_outage.over()
        self._membership.registered(incarnations, reply.session)
        if reply.heartbeat_interval_s > 0:
            self._interval_s = reply.heartbeat_interval_s
        for host, incarnation in incarnations.items():
            log.info("host registered", host=host, incarnation=incarnation)
        return True

    async def _report(self, time_limit_s: float, *, prompt: bool = False) -> None:
        chassis = self._chassis
        incarnations, sessions = self._membership.known(chassis.powered)
        if not incarnations:
            return
        snapshot = chassis.snapshot()
        chassis.vms_changed.clear()
        try:
            request = self._message.write(snapshot.view, incarnations, sessions, snapshot.sequence)
            told = self._findings.add_to_report(request)
            reply = await self._registries[VRM].Report(request, timeout=time_limit_s)
            self._membership.hear(reply.vrm_generation)
        except (grpc.aio.AioRpcError, Refused) as failure:
            self._counters.reports[Outcome.FAILED] += 1
            if not prompt:  # that one only gave way to the heartbeat, which will tell
                self._report_outage.failed(_reason(failure))
            return
        self._counters.reports[Outcome.DONE] += 1
        self._findings.vrm_answered(told, incarnations)
        self._report_outage.over()
        if reply.unregistered:
            self._membership.unregistered(reply.unregistered, sessions)
            incarnations = self._membership.known(incarnations).incarnations
        chassis.forget_stopped(snapshot, incarnations)


def _reason(failure: grpc.aio.AioRpcError | Refused) -> str:
    if isinstance(failure, Refused):
        return str(failure)
    return f"{failure.code().name}: {failure.details()}"
