"""A storage array over its protocol: volumes, data, and that all of it outlives a crash."""

from __future__ import annotations

import asyncio

import grpc

from cluster.rpc.v1 import storage_pb2 as pb
from fusion.spec import GIB
from tests.cluster.array_world import fails_with, running, slow, write_request
from tests.cluster.virtual_time import in_virtual_time, until

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
BARRED = grpc.StatusCode.FAILED_PRECONDITION


def test_what_was_acknowledged_outlives_the_array() -> None:
    async def scenario() -> None:
        async with running() as world:
            assert await world.create(1, GIB, 2 * GIB) == []
            assert await world.open({1: 3}) == []
            await world.write(1, 3, (0, b"first"), (8192, b"third"))
            await world.write(1, 3, (4096, b"second"))
            await world.restart()
            assert world.facts.epoch(1) == 3
            assert list(world.facts.offsets(1, 0)) == [0, 4096, 8192]
            assert world.facts.has_block(1, 0, 4096)
            assert world.facts.data(1, 0, 8192) == b"third"
            assert world.facts.data(1, 0, 1) is None
            assert (await world.datastore()).allocated_bytes == 3 * 4096
            assert (await world.datastore()).provisioned_bytes == 3 * GIB
            assert await world.read(1, 3) == {0: b"first", 4096: b"second", 8192: b"third"}
            assert await world.read(1, 3, from_offset=4097) == {8192: b"third"}

    in_virtual_time(scenario())
