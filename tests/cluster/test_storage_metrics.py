"""What Prometheus gets from an array."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from cluster.metrics.storage import ArrayMetrics, Operation
from cluster.rpc.v1 import storage_pb2 as pb
from cluster.storage.array import StorageArray
from fusion.spec import GIB
from tests.cluster.array_world import running
from tests.cluster.virtual_time import in_virtual_time


def scraped(array: StorageArray) -> dict[str, float]:
    """Return the values of an array's metrics, by their names and the labels that differ."""
    registry = CollectorRegistry()
    for collector in array.collectors("lab"):
        registry.register(collector)
    lines = generate_latest(registry).decode().splitlines()
    samples = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    assert all('datacenter="lab"' in name and 'array="san-1"' in name for name, _, _ in samples)
    return {
        name.replace('datacenter="lab"', "").replace('array="san-1"', "").replace(",", ""): float(
            value
        )
        for name, _, value in samples
    }


def test_a_scrape_shows_space_work_and_refusals() -> None:
    async def scenario() -> None:
        async with running() as world:
            await world.create(1, 20 * GIB)
            await world.create(2, GIB, thin=False)
            await world.open({1: 1})
            await world.renew({1: 1}, "cna-01")
            await world.write(1, 1, (0, b"x"))
            await world.read(1, 1)
            await world.fence(1, 2)
            for epoch in (1, 2):
                await world.stub.HandOver(
                    pb.HandOverRequest(vm_number=1, from_epoch=epoch, to_epoch=3)
                )
            await world.stub.ReadEpochs(pb.ReadEpochsRequest(vm_number=[1]))
            await world.renew({1: 1}, "cna-01")
            found = scraped(world.array)
            assert found['fusion_datastore_capacity_bytes{datastore="ds-1"}'] == 10 * GIB
            assert found['fusion_datastore_allocated_bytes{datastore="ds-1"}'] == GIB + 4096
            assert found['fusion_datastore_provisioned_bytes{datastore="ds-1"}'] == 21 * GIB
            assert found['fusion_datastore_volumes{datastore="ds-1"}'] == 2
            assert found['fusion_datastore_volumes{datastore="ds-2"}'] == 0
            counts = {
                kind: found[f'fusion_array_operations_total{{kind="{kind}"}}'] for kind in Operation
            }
            assert counts == {
                "create": 2,
                "delete": 0,
                "open": 1,
                "renew": 2,
                "write": 1,
                "read": 1,
                "fence": 1,
                "hand-over": 2,
                "read-epochs": 1,
            }
            assert found["fusion_array_service_seconds_count{}"] == 2
            assert 0.0 < found["fusion_array_service_seconds_sum{}"] < 0.1
            assert found["fusion_array_wait_seconds_count{}"] == 2
            assert found["fusion_array_wait_seconds_sum{}"] == 0.0
            assert found["fusion_array_refused_total{}"] == 2
            assert found["fusion_array_channels{}"] == 10
            assert found["fusion_array_utilisation_ratio{}"] == 0.0

    in_virtual_time(scenario())


def test_an_array_that_is_not_up_yet_shows_nothing() -> None:
    registry = CollectorRegistry()
    registry.register(ArrayMetrics("lab", "san-1", lambda: None))
    assert generate_latest(registry) == b""
