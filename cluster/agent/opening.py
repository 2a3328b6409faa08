"""How hosts come to hold VMs: their volumes are opened on every array before anything starts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from cluster.agent.arrays import Arrays
from cluster.clock import Clock
from cluster.rpc.v1 import storage_pb2
from fusion.spec import VmSpec


@dataclass(frozen=True, slots=True)
class Wanted:
    """A VM that a host is to start, at an epoch."""

    vm: int
    epoch: int
    spec: VmSpec


@dataclass(frozen=True, slots=True)
class Opened:
    """Until when each array granted its VMs, and why VMs may not start, both by VM number."""

    until_s: Mapping[int, dict[str, float]]
    refused: Mapping[int, str]


#: Until when an array granted VMs, and why it refused others, by their numbers.
_Answer = tuple[dict[int, float], dict[int, str]]


class Opening:
    """Takes the volumes of VMs for a host. Where there are no ``names`` of arrays, none are."""

    def __init__(
        self, names: Sequence[str], *, arrays: Arrays, time_limit_s: float, clock: Clock
    ) -> None:
        self._names = tuple(names)
        self._arrays = arrays
        self._time_limit_s = time_limit_s
        self._clock = clock

    @property
    def needed(self) -> bool:
        """Whether VMs need leases here at all."""
        return bool(self._names)

    async def open(self, host: str, incarnation: int, wanted: Sequence[Wanted]) -> Opened:
        """Open all volumes of ``wanted``, on all arrays at once."""
        until_s: dict[int, dict[str, float]] = {one.vm: {} for one in wanted}
        refused: dict[int, str] = {}
        if self._names:
            on = self._by_array(wanted, refused)
            opens = [self._open(array, host, incarnation, there) for array, there in on.items()]
            for array, (granted_s, refusals) in zip(on, await _all(opens), strict=True):
                refused.update(refusals)
                for vm in granted_s:
                    until_s[vm][array] = granted_s[vm]
        return Opened(until_s, refused)

    def _by_array(
        self, wanted: Sequence[Wanted], refused: dict[int, str]
    ) -> dict[str, list[Wanted]]:
        on: dict[str, list[Wanted]] = {}
        for one in wanted:
            for array in one.spec.arrays:
                if array in self._names:
                    on.setdefault(array, []).append(one)
                else:
                    refused[one.vm] = f"its volume is on array {array}, which is not known here"
        return on

    async def _open(
        self, array: str, host: str, incarnation: int, wanted: Sequence[Wanted]
    ) -> _Answer:
        """Return until when ``array`` granted VMs, and why it refused others."""
        request = storage_pb2.OpenRequest(
            host=host,
            incarnation=incarnation,
            vm_number=[one.vm for one in wanted],
            epoch=[one.epoch for one in wanted],
        )
        sent_s = self._clock.now()
        try:
            reply = await self._arrays[array].Open(request, timeout=self._time_limit_s)
        except grpc.aio.AioRpcError as failure:
            reason = f"array {array} did not open its volumes: {failure.code().name}"
            return {}, {one.vm: f"{reason}, {failure.details()}" for one in wanted}
        barred = frozenset(reply.barred)
        refused = {
            one.vm: f"array {array} does not let it in at epoch {one.epoch}:"
            f" it has a later one, or no volume there"
            for one in wanted
            if one.vm in barred
        }
        until_s = sent_s + reply.lease_s
        return {one.vm: until_s for one in wanted if one.vm not in barred}, refused


async def _all(opens: Sequence[Coroutine[Any, Any, _Answer]]) -> list[_Answer]:
    """Return what comes of all ``opens`` at once, their order kept."""
    if len(opens) == 1:  # as nearly always: a task of its own would cost as much as the call
        return [await opens[0]]
    async with asyncio.TaskGroup() as calls:
        tasks = [calls.create_task(one) for one in opens]
    return [task.result() for task in tasks]
