"""The ledgers of guests: read back at a boot, kept in memory, written to volumes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import grpc
import structlog

from cluster.agent.arrays import Arrays
from cluster.agent.chassis import Chassis
from cluster.agent.copies import Copies
from cluster.agent.holdings import FREE, HoldCause, Holding
from cluster.agent.rhythm import News
from cluster.clock import Clock
from cluster.rpc.v1 import storage_pb2
from fusion.errors import FusionError, NotFound, Refused
from fusion.guest.ledger import Entry, Ledger
from fusion.vm import EXECUTING, VmState, vm_id

log = structlog.get_logger()

#: States in which a guest answers clients; it does not while it is handed over.
ANSWERING = frozenset({VmState.RUNNING, VmState.MIGRATING})

#: How long an entry may be in memory alone.
FLUSH_S = 5.0
#: So many entries go with one write at most.
BATCH = 1024
#: How long reading a ledger back may take, all of it.
READ_LIMIT_S = 30.0
#: The pause after a write that failed, as a share of its time limit; and so often that doubles
#: where answers come too late.
RETRY_GAP = 0.125
DOUBLINGS = 3


class Silent(FusionError):
    """The guest does not answer, or may not any more."""


@dataclass(slots=True, eq=False)
class Memory:
    """The ledger in the memory of one boot of a guest."""

    holding: Holding
    boot: int
    ledger: Ledger
    reading: asyncio.Task[bool] | None = None
    complete: bool = False  # what is on the volume is known
    writing: bool = False  # a write is under way
    over: bool = False  # nobody writes it any more
    write_by_s: float = math.inf  # when what is pending goes out
    late: int = 0  # how many writes in a row were out of time
    news: News = field(default_factory=News)  # that may be earlier than was known
    awaited: dict[tuple[str, int], list[asyncio.Future[bool]]] = field(default_factory=dict)

    def settle(self, client: str, number: int, *, written: bool) -> None:
        """Tell those who wait for an entry whether it was written."""
        for future in self.awaited.pop((client, number), ()):
            if not future.done():  # else nobody waits any more
                future.set_result(written)

    def end(self) -> None:
        """Tell those who wait for an entry that it will not be written."""
        self.over = True
        for entry in list(self.awaited):
            self.settle(*entry, written=False)


class Ledgers:
    """One ledger for each guest that clients ask; writing and reading run in tasks of the agent."""

    def __init__(
        self,
        *,
        chassis: Chassis,
        copies: Copies,
        arrays: Arrays,
        time_limit_s: float,
        clock: Clock,
    ) -> None:
        self._chassis = chassis
        self._copies = copies
        self._arrays = arrays
        self._time_limit_s = time_limit_s
        self._clock = clock
        self._tasks: asyncio.TaskGroup | None = None
        self._memories: dict[tuple[str, int], Memory] = {}

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """Have ``tasks`` own what is under way."""
        self._tasks = tasks

    async def read(self, vm: int) -> Memory:
        """Return the ledger of VM number ``vm``, read back since its guest booted, whose guest may
        answer at this instant.

        Raises ``NotFound`` where no host here has the VM, ``Silent`` where its guest may not answer
        and ``Refused`` where it has no volume.
        """
        memory, state = self._memory(vm)
        if memory.complete and memory.holding.causes is FREE:  # as nearly always
            self._check_state(memory.holding, state)
            return memory
        await self.may_answer(memory)
        if not memory.complete:
            await self._completed(memory)
            await self.may_answer(memory)
        return memory

    async def may_answer(self, memory: Memory) -> None:
        """Return if this very guest may answer at this very instant; raise ``Silent`` if not.

        To be called right before every answer: between two awaits anything may have happened. It
        waits only where the VM is handed over to another host, until it is known who has it.
        """
        holding = memory.holding
        if holding.causes is not FREE:
            await self._copies.decided(holding)
        try:
            state, boot = self._chassis.guest(holding.host, holding.vm)
        except NotFound:
            raise Silent(f"{holding} is not on host {holding.host} any more") from None
        if not self._copies.has(holding) or boot != memory.boot:
            raise Silent(f"{holding} has begun anew since")
        self._check_state(holding, state)

    def _check_state(self, holding: Holding, state: VmState) -> None:
        if state not in ANSWERING:
            raise Silent(f"{holding} is {state}")
        if not holding.leased(self._clock.now()):
            raise Silent(f"{holding} has no lease")

    def append(self, memory: Memory, entry: Entry) -> None:
        """Take an entry into the guest's memory; it is written within ``FLUSH_S``."""
        memory.ledger.append(entry)
        self._write_by(memory, self._clock.now() + FLUSH_S)

    async def append_durably(self, memory: Memory, entry: Entry) -> None:
        """Take an entry into the memory of a guest that may answer; return once it is on the
        volume. Raises ``Silent``.
        """
        ledger, (client, number, _) = memory.ledger, entry
        if ledger.append(entry) and ledger.pending == 1:  # as nearly always: no task need be woken
            memory.write_by_s = self._clock.now()
            try:
                await self._write(memory)
            finally:
                if ledger.pending:
                    memory.news.set()
        if not ledger.pending or ledger.on_volume(client, number):
            return
        if not memory.over:
            written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            memory.awaited.setdefault((client, number), []).append(written)
            self._write_by(memory, self._clock.now())
            if await written:
                return
        raise Silent(f"{memory.holding} lost its memory before the entry was on its volume")

    def flush(self, host: str, vm: int) -> None:
        """Have what is in a guest's memory alone written now, as a guest does that shuts down."""
        memory = self._memories.get((host, vm))
        if memory is not None and memory.ledger.pending:
            self._write_by(memory, self._clock.now())

    def room_changed(self, array: str, full: Sequence[str]) -> None:
        """Let guests try again that wait for room on a datastore that is not ``full`` any more."""
        for memory in self._memories.values():
            volume = memory.holding.volumes[0]
            if volume.array == array and volume.datastore not in full:
                memory.news.set()

    # Migration

    def hand_out(self, host: str, vm: int) -> bytes:
        """Return the ledger of a guest that is handed over, for ``take_in``: nothing where it was
        not read back yet.

        A write under way may still be applied, or not; where the ledger goes on, it is repeated.
        Raises ``Refused`` where the guest is not frozen for that.
        """
        holding = self._copies.of(host, vm)
        if holding is None or HoldCause.HAND_OVER not in holding.causes:
            raise Refused(f"VM {vm_id(vm)} is not handed over; its guest may still write")
        memory = self._memories.get((host, vm))
        if memory is None or not memory.complete or self._state(memory) is None:
            return b""
        return memory.ledger.packed()

    def take_in(self, host: str, vm: int, data: bytes) -> None:
        """Have a guest that arrived go on with its ledger; what is pending is written at once.

        Raises ``InvalidInput`` where ``data`` is not what ``hand_out`` returned, and ``NotFound``
        where the VM is not on ``host``.
        """
        holding = self._copies.of(host, vm)
        if holding is None:
            raise NotFound(f"host {host} has no VM {vm_id(vm)} whose ledger could go on")
        if data:
            ledger = Ledger.unpacked(data, holding.volumes[0].size_bytes)
            _, boot = self._chassis.guest(host, vm)
            self._let_go([self._memories.get((host, vm))])
            memory = self._begin(holding, boot, ledger)
            memory.complete = True
            self._write_by(memory, self._clock.now())

    # Memories

    def _memory(self, vm: int) -> tuple[Memory, VmState]:
        """Return the memory of the guest of a VM, and the state of that as of now."""
        holding = self._copies.newest(vm)
        if holding is None:
            raise NotFound(f"no host here has VM {vm_id(vm)}")
        state, boot = self._chassis.guest(holding.host, vm)
        memory = self._memories.get((holding.host, vm))
        if memory is None or memory.holding is not holding or memory.boot != boot or memory.over:
            if not holding.volumes:
                raise Refused(f"{holding} has no volume, so its guest keeps no ledger; give it one")
            memory = self._anew(holding, boot, memory)
        return memory, state

    def _anew(self, holding: Holding, boot: int, before: Memory | None) -> Memory:
        # Of the same epoch, writes may still be on their way.
        same = before is not None and before.holding.epoch == holding.epoch
        floor = before.ledger.next_offset if before is not None and same else 0
        kept = {key: one for key, one in self._memories.items() if self._copies.has(one.holding)}
        self._let_go([before, *(one for key, one in self._memories.items() if key not in kept)])
        self._memories = kept
        return self._begin(holding, boot, Ledger(holding.volumes[0].size_bytes, floor))

    def _begin(self, holding: Holding, boot: int, ledger: Ledger) -> Memory:
        assert self._tasks is not None, "run_in comes first"
        memory = self._memories[holding.host, holding.vm] = Memory(holding, boot, ledger)
        self._tasks.create_task(self._keep_written(memory))
        return memory

    def _state(self, memory: Memory) -> VmState | None:
        """Return the state of the VM, for as long as its guest lives by this memory."""
        holding = memory.holding
        if not self._copies.has(holding):
            return None
        try:
            state, boot = self._chassis.guest(holding.host, holding.vm)
        except NotFound:
            return None
        return state if boot == memory.boot and state is not VmState.STOPPED else None

    def _let_go(self, memories: Iterable[Memory | None]) -> None:
        """Have the writers of memories that nobody will add to see that."""
        for memory in memories:
            if memory is not None:
                memory.news.set()

    # The volume

    async def _completed(self, memory: Memory) -> None:
        """Return once it is known what is on the volume; one task reads that for all who ask."""
        if memory.reading is None:
            assert self._tasks is not None, "run_in comes first"
            memory.reading = self._tasks.create_task(self._read_back(memory))
        reading = memory.reading
        if not await asyncio.shield(reading):
            if memory.reading is reading:
                memory.reading = None
            raise Silent(f"{memory.holding} cannot read its ledger back")

    async def _read_back(self, memory: Memory) -> bool:
        """Read what is on the volume; where that breaks off, the next time goes on from there."""
        holding, ledger = memory.holding, memory.ledger
        request = storage_pb2.ReadRequest(
            vm_number=holding.vm, epoch=holding.epoch, from_offset=ledger.read_to
        )
        array = holding.volumes[0].array
        try:
            async for reply in self._arrays[array].Read(request, timeout=READ_LIMIT_S):
                for block in reply.blocks:
                    ledger.restore(block.offset, block.size_bytes, block.data)
        except grpc.aio.AioRpcError as failure:
            self._failed(memory, "read", request.epoch, failure)
            return False
        except FusionError as damage:
            log.error("ledger is damaged", vm=vm_id(holding.vm), array=array, reason=str(damage))
            return False
        memory.complete = True
        return True

    def _write_by(self, memory: Memory, due_s: float) -> None:
        if memory.ledger.pending and due_s < memory.write_by_s:
            memory.write_by_s = due_s
            memory.news.set()

    async def _keep_written(self, memory: Memory) -> None:
        """Write what is pending, in its order, until the guest's memory is gone."""
        while True:
            if memory.writing or not memory.ledger.pending:
                await memory.news.come()
            state = self._state(memory)
            if state is None:
                break
            now_s = self._clock.now()
            if memory.writing or not memory.ledger.pending:
                continue  # somebody else writes, or there was other news
            if HoldCause.HAND_OVER in memory.holding.causes:
                await self._copies.decided(memory.holding)
            elif HoldCause.SPACE in memory.holding.causes:
                if await memory.news.within(self._clock, now_s + self._time_limit_s):
                    await self._write(memory)
            elif state not in EXECUTING or not memory.holding.leased(now_s):
                await memory.news.within(self._clock, now_s + self._time_limit_s)
            elif now_s < memory.write_by_s:
                await memory.news.within(self._clock, memory.write_by_s)
            elif not await self._write(memory):
                await self._clock.sleep(RETRY_GAP * self._time_limit_s)
        memory.end()

    async def _write(self, memory: Memory) -> bool:
        """Write one batch; tell whether it is on the volume, or waits for room."""
        holding, blocks = memory.holding, memory.ledger.next_blocks(BATCH)
        request = storage_pb2.WriteRequest(vm_number=holding.vm, epoch=holding.epoch)
        for offset, size_bytes, _, data in blocks:
            request.blocks.add(offset=offset, size_bytes=size_bytes, data=data)
        array = holding.volumes[0].array
        memory.writing = True
        try:
            time_limit_s = self._time_limit_s * (1 << memory.late)
            await self._arrays[array].Write(request, timeout=time_limit_s)
        except grpc.aio.AioRpcError as failure:
            if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                memory.late = min(memory.late + 1, DOUBLINGS)
            return self._failed(memory, "write", request.epoch, failure)
        finally:
            memory.writing = False
        memory.late = 0
        memory.ledger.written(len(blocks))
        if memory.awaited:
            for one in blocks:
                memory.settle(one.entry.client, one.entry.number, written=True)
        memory.write_by_s = math.inf
        if memory.ledger.pending:
            more = memory.awaited or len(blocks) == BATCH
            memory.write_by_s = self._clock.now() + (0.0 if more else FLUSH_S)
        if holding.causes is not FREE:
            why = "there is room on its datastore again"
            self._copies.release([holding], HoldCause.SPACE, why)
        return True

    def _failed(self, memory: Memory, what: str, epoch: int, failure: grpc.aio.AioRpcError) -> bool:
        """Act on the refusal of an array; tell whether that is to be waited for.

        The array may be done with ``epoch`` because the VM is handed over, or was taken back: that
        voids nothing.
        """
        holding, volume = memory.holding, memory.holding.volumes[0]
        match failure.code():
            case grpc.StatusCode.FAILED_PRECONDITION if (
                HoldCause.HAND_OVER in holding.causes or holding.epoch != epoch
            ):
                return False
            case grpc.StatusCode.FAILED_PRECONDITION:
                why = f"array {volume.array} refused to {what} for it: {failure.details()}"
                self._copies.discard([holding], why)
                return False
            case grpc.StatusCode.RESOURCE_EXHAUSTED:
                why = f"datastore {volume.datastore} on array {volume.array} is full"
                self._copies.hold([holding], HoldCause.SPACE, lambda _: why)
                return True
            case code:
                log.warning(
                    f"{what} failed", vm=vm_id(holding.vm), array=volume.array, code=code.name
                )
                return False
