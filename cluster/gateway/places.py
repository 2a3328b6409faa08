"""Where VMs are: as the VRM or their hosts said last, asked anew where that did not help."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import structlog

from cluster.clock import Clock
from cluster.network import Network
from cluster.parties import VRM
from cluster.rpc.v1 import vrm_pb2, vrm_pb2_grpc

log = structlog.get_logger()

#: Shares of a heartbeat interval: between two questions to the VRM, and how long one may take.
ASKING_GAP = 0.25
PATIENCE = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a VM is, and since which epoch; its number is 0 where there is no such VM."""

    vm_number: int
    host: str  # empty: on none
    epoch: int


class Places:
    """The places of VMs, by the names or identities that clients use.

    One question to the VRM is about all VMs that anybody waits for. While the VRM is away, what it
    said last goes on to hold. A host that took a VM over announces that before the VRM knows.
    ``moved`` is told of every VM whose place is another.
    """

    def __init__(
        self, *, clock: Clock, network: Network, interval_s: float, moved: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._network = network
        self._interval_s = interval_s
        self._moved = moved
        self._known: dict[str, Place] = {}
        self._epochs: dict[int, int] = {}  # the highest seen, by VM number
        self._announced: dict[int, Place] = {}  # the last of each VM
        self._wanted: dict[str, asyncio.Future[None]] = {}
        self._being_asked: dict[str, asyncio.Future[None]] = {}
        self._asked = asyncio.Event()
        self._vrm_answers = True

    def known(self, vm: str) -> Place | None:
        """Return what is known of ``vm`` without asking."""
        return self._known.get(vm)

    def ask(self, vm: str) -> asyncio.Future[None]:
        """Have the VRM asked where ``vm`` is; done when it has answered, or keeps silent."""
        answered = self._wanted.get(vm)
        if answered is None:
            answered = self._wanted[vm] = asyncio.get_running_loop().create_future()
            self._asked.set()
        return answered

    async def anew(self, vm: str, until_s: float) -> Place | None:
        """Return what is known of ``vm`` after the VRM was asked, at the latest at ``until_s``."""
        answered = self.ask(vm)
        left_s = until_s - self._clock.now()
        if left_s > 0:
            try:
                async with self._clock.timeout(left_s):
                    await asyncio.shield(answered)  # others wait for it too
            except TimeoutError:
                pass
        return self._known.get(vm)

    def is_current(self, vm_number: int, epoch: int) -> bool:
        """Whether no higher epoch of a VM was seen than ``epoch``, which is one from now on."""
        seen = self._epochs.get(vm_number, 0)
        if epoch > seen:
            self._epochs[vm_number] = epoch
        return epoch >= seen

    def announced(self, place: Place) -> None:
        """Note that a host has a VM now, under all names by which clients know it.

        What is older than what is known is ignored.
        """
        number = place.vm_number
        before = self._announced.get(number)
        if not self.is_current(number, place.epoch) or (before and place.epoch <= before.epoch):
            return
        self._announced[number] = place
        for vm in [vm for vm, known in self._known.items() if known.vm_number == number]:
            self._learn(vm, place)
            for questions in (self._wanted, self._being_asked):
                answered = questions.pop(vm, None)
                if answered is not None:
                    answered.set_result(None)

    async def keep_asking(self) -> None:
        """Ask the VRM whenever there is a question, for ever."""
        last_s = -math.inf
        while True:
            await self._asked.wait()
            next_s = last_s + ASKING_GAP * self._interval_s
            if next_s > self._clock.now():
                await self._clock.sleep(next_s - self._clock.now())
            last_s = self._clock.now()
            self._being_asked, self._wanted = self._wanted, {}
            self._asked.clear()
            if self._being_asked:
                await self._locate(list(self._being_asked))
            for answered in self._being_asked.values():
                answered.set_result(None)
            self._being_asked = {}

    async def _locate(self, vms: list[str]) -> None:
        stub = vrm_pb2_grpc.VrmStub(self._network.channel(VRM))
        request = vrm_pb2.LocateRequest(vms=vms)
        try:
            reply = await stub.Locate(request, timeout=PATIENCE * self._interval_s)
        except grpc.aio.AioRpcError as failure:
            if self._vrm_answers:
                log.warning("the VRM does not say where VMs are", reason=failure.details())
            self._vrm_answers = False
            return
        self._vrm_answers = True
        rows = zip(vms, reply.vm_number, reply.host, reply.epoch, strict=True)
        for vm, number, host, epoch in rows:
            self._learn(vm, Place(number, host, epoch))

    def _learn(self, vm: str, place: Place) -> None:
        """Take over where a VM is; what the VRM says may be older than what its host announced."""
        self.is_current(place.vm_number, place.epoch)
        announced = self._announced.get(place.vm_number)
        if announced is not None and announced.epoch > place.epoch:
            place = announced
        before = self._known.get(vm)
        self._known[vm] = place
        if before is not None and before != place:
            self._moved(vm)
