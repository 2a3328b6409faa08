"""The gateway's own clients: what they send, what they note, and what is told of it."""

from __future__ import annotations

import grpc
import pytest
from prometheus_client import CollectorRegistry

from cluster.gateway.facts import Acknowledged
from cluster.parties import GATEWAY
from cluster.rpc.v1 import service_pb2 as pb
from cluster.simulated.process import Process
from cluster.simulated.stores import SimulatedStores
from fusion.errors import FusionError
from fusion.guest.client_log import Outcome
from fusion.spec import ClientSpec, Durability
from tests.cluster.gateway_world import World, a_client, running
from tests.cluster.virtual_time import in_virtual_time

SHOP = ("i-00000001", "shop")
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED


def numbers(world: World, client: int = 0) -> list[tuple[int, Outcome]]:
    """What the log has of a client: numbers and outcomes."""
    attempts = world.facts.attempts()[client]
    return [(int(row["number"]), Outcome(row["outcome"])) for row in attempts]


def test_a_client_appends_at_every_beat() -> None:
    async def scenario() -> None:
        async with running(World(a_client())) as world:
            await world.at(10.5)
            assert world.hosts["cna-01"].ledgers[SHOP] == list(range(1, 12))
            (attempts,) = world.facts.attempts()
            assert attempts["sent_s"].tolist() == pytest.approx(list(range(11)))
            request = world.hosts["cna-01"].asked[0]
            assert (request.size_bytes, request.durability) == (4096, pb.DURABILITY_DISK)

    in_virtual_time(scenario())


def test_an_entry_that_failed_is_sent_again_until_it_is_acknowledged() -> None:
    async def scenario() -> None:
        async with running(World(a_client())) as world:
            await world.at(1.5)
            world.hosts["cna-01"].failure = FULL
            await world.at(3.5)
            world.hosts["cna-01"].failure = None
            await world.at(4.5)
            failed = Outcome.FAILED
            assert [*numbers(world)] == [
                *((1, Outcome.ANSWERED), (2, Outcome.ANSWERED)),
                *((3, failed), (3, failed), (3, Outcome.ANSWERED)),
            ]

    in_virtual_time(scenario())


def test_one_that_is_not_answered_in_time_misses_beats() -> None:
    async def scenario() -> None:
        async with running(World(a_client())) as world:
            await world.at(0.5)
            world.hosts["cna-01"].answering.clear()
            await world.at(3.2)
            world.hosts["cna-01"].answering.set()
            await world.at(5.5)
            (attempts,) = world.facts.attempts()
            assert attempts["sent_s"].tolist() == pytest.approx([0, 1, 4, 5])
            assert attempts["ended_s"].tolist() == pytest.approx([0, 3, 4, 5])
            assert numbers(world)[1:3] == [(2, Outcome.TIMED_OUT), (2, Outcome.ANSWERED)]

    in_virtual_time(scenario())


def test_nothing_counts_before_the_vm_runs_for_the_first_time() -> None:
    async def scenario() -> None:
        world = World(a_client())
        world.hosts["cna-01"].failure = grpc.StatusCode.UNAVAILABLE
        async with running(world):
            await world.at(20.0)
            assert numbers(world) == []
            (seen,) = await world.seen(gaps=True)
            assert (seen.requests, seen.longest_gap_s, list(seen.gaps)) == (0, 0.0, [])
            world.hosts["cna-01"].failure = None
            await world.at(21.5)
            assert numbers(world)[0] == (1, Outcome.ANSWERED)

    in_virtual_time(scenario())


def test_clients_do_not_come_in_a_crowd() -> None:
    async def scenario() -> None:
        async with running(World(*(a_client(f"shop-{k}") for k in range(4)))) as world:
            await world.at(2.9)
            sent_s = [attempts["sent_s"].tolist() for attempts in world.facts.attempts()]
            assert sent_s == [pytest.approx([k, k + 1, k + 2]) for k in (0, 0.25, 0.5, 0.75)]

    in_virtual_time(scenario())


def test_what_is_told_of_clients() -> None:
    async def scenario() -> None:
        clients = (a_client(), a_client("kiosk", durability=Durability.RAM))
        async with running(World(*clients)) as world:
            await world.at(4.9)
            world.hosts["cna-01"].failure = FULL
            await world.at(14.6)
            world.hosts["cna-01"].failure = None
            await world.at(20.4)
            shop, kiosk = await world.seen(gaps=True)
            assert (shop.name, shop.vm, shop.durability) == ("shop", "web-01", pb.DURABILITY_DISK)
            assert (kiosk.name, kiosk.durability) == ("kiosk", pb.DURABILITY_RAM)
            assert (shop.requests, shop.answered, shop.failed) == (21, 11, 10)
            assert shop.longest_gap_s == pytest.approx(11.0)
            assert [(gap.from_s, gap.to_s) for gap in shop.gaps] == [pytest.approx((4.0, 15.0))]
            assert not shop.verified
            assert [client.name for client in await world.seen(["kiosk"])] == ["kiosk"]
            with pytest.raises(grpc.aio.AioRpcError, match="there is no client nobody"):
                await world.seen(["nobody"])

    in_virtual_time(scenario())


def test_a_gap_that_lasts_is_told() -> None:
    async def scenario() -> None:
        async with running(World(a_client())) as world:
            await world.at(4.5)
            world.hosts["cna-01"].failure = FULL
            await world.at(30.0)
            (seen,) = await world.seen(gaps=True)
            assert seen.longest_gap_s == pytest.approx(26.0)
            assert [(gap.from_s, gap.to_s) for gap in seen.gaps] == [pytest.approx((4.0, -1.0))]

    in_virtual_time(scenario())


def test_ledgers_are_compared_with_what_was_acknowledged() -> None:
    async def scenario() -> None:
        ram = a_client("kiosk", durability=Durability.RAM)
        async with running(World(a_client(), ram, a_client("late", "web-02"))) as world:
            await world.at(9.9)
            ledgers = world.hosts["cna-01"].ledgers
            ledgers[SHOP].remove(3)
            for number in (5, 6):
                ledgers["i-00000001", "kiosk"].remove(number)
            shop, kiosk, late = await world.seen(verify=True)
            assert (shop.verified, shop.lost, shop.lost_durable) == (True, 1, 1)
            assert (kiosk.verified, kiosk.lost, kiosk.lost_durable) == (True, 2, 0)
            assert (late.verified, late.requests) == (False, 0)

    in_virtual_time(scenario())


def test_facts_follow_what_was_acknowledged_as_durable() -> None:
    async def scenario() -> None:
        ram = a_client("kiosk", durability=Durability.RAM)
        async with running(World(a_client(), ram)) as world:
            await world.at(1.9)
            position = world.facts.position
            assert [one.number for one in world.facts.acknowledged_durable()] == [1, 2]
            world.hosts["cna-01"].failure = FULL
            await world.at(2.9)
            world.hosts["cna-01"].failure = None
            await world.at(3.9)
            (fresh,) = world.facts.acknowledged_durable(position)
            assert fresh == Acknowledged(1, "shop", 3, 1, at_s=fresh.at_s)
            assert fresh.at_s == pytest.approx(3.0)

    in_virtual_time(scenario())


def test_a_gateway_that_comes_back_goes_on_where_it_was() -> None:
    async def scenario() -> None:
        world = World(a_client(), a_client("kiosk"))
        async with running(world):
            await world.at(9.7)
            world.process.kill()
            await world.at(40.0)
            world.hosts["cna-01"].failure = FULL
            world.clients = (a_client("new"), a_client())
            await world.gateway_on()
            await world.at(44.9)
            world.hosts["cna-01"].failure = None
            await world.at(50.2)
            entries = world.hosts["cna-01"].ledgers[SHOP]
            assert entries == list(range(1, len(entries) + 1))
            new, shop = await world.seen(gaps=True, verify=True)
            assert (shop.verified, shop.lost) == (True, 0)
            # Nobody looked while it was away; what it found then is a gap from there on.
            (gap,) = shop.gaps
            assert (gap.from_s, gap.to_s) == pytest.approx((40.5, 45.5))
            assert shop.failed == 5
            told = [one for one in world.facts.acknowledged_durable() if one.client == "shop"]
            assert [one.number for one in told] == entries
            assert new.answered == world.hosts["cna-01"].ledgers["i-00000001", "new"][-1]

    in_virtual_time(scenario())


def test_what_was_not_written_when_it_died_is_acknowledged_again() -> None:
    async def scenario() -> None:
        world = World(ClientSpec("shop", "web-01", every_s=0.1))
        async with running(world):
            await world.at(1.95)
            world.process.kill()
            assert world.hosts["cna-01"].ledgers[SHOP][-1] == 20
            await world.gateway_on()
            await world.at(1.97)
            assert next(iter(world.facts.acknowledged_durable())).number == 1
            first_again = next(row for row in world.facts.attempts()[0] if row["session"] == 2)
            assert 10 <= first_again["number"] <= 12
            assert first_again["outcome"] == Outcome.ANSWERED

    in_virtual_time(scenario())


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (b"no database, but longer than the hundred bytes of a header" * 4, "is damaged"),
        (99, "schema 99, and this version knows 1 at most"),
    ],
)
def test_a_store_that_cannot_be_read_is_left_alone(damage: bytes | int, sentence: str) -> None:
    async def scenario() -> None:
        world = World(a_client())
        async with running(world):
            await world.at(2.0)
        if isinstance(damage, int):
            store = SimulatedStores(world.disk).open(GATEWAY)
            store.execute(f"PRAGMA user_version = {damage}")
            store.close()
        else:
            world.disk.images[GATEWAY] = damage
        before = world.disk.images[GATEWAY]
        gateway = world._gateway(Process("spare", world.fabric, world.disk))
        with pytest.raises(FusionError, match=sentence):
            await gateway.run(lambda: None)
        assert world.disk.images[GATEWAY] == before

    in_virtual_time(scenario())


def test_metrics_say_what_clients_saw() -> None:
    async def scenario() -> None:
        async with running(World(a_client())) as world:
            await world.at(4.5)
            world.hosts["cna-01"].failure = FULL
            await world.at(9.5)
            registry = CollectorRegistry()
            (collector,) = world.gateway.collectors("lab")
            registry.register(collector)
            labels = {"datacenter": "lab", "client": "shop", "vm": "web-01"}

            def value(name: str, **more: str) -> float | None:
                return registry.get_sample_value(name, {**labels, **more})

            assert value("fusion_client_requests_total", outcome="answered") == 5
            assert value("fusion_client_requests_total", outcome="failed") == 5
            assert value("fusion_client_requests_total", outcome="timed-out") == 0
            assert value("fusion_client_latency_seconds_count") == 5
            assert value("fusion_client_latency_seconds_bucket", le="0.001") == 5
            assert value("fusion_client_last_answer_seconds") == pytest.approx(4.0)
            assert value("fusion_client_longest_gap_seconds") == pytest.approx(5.5)

    in_virtual_time(scenario())


def test_whoever_follows_the_clients_hears_of_every_request_once() -> None:
    async def scenario() -> None:
        async with running(World(a_client())) as world:
            nothing = await world.stub.ReadAttempts(pb.ReadAttemptsRequest(after=1 << 62))
            assert (nothing.position, len(nothing.client)) == (0, 0)
            await world.at(2.5)
            first = await world.stub.ReadAttempts(pb.ReadAttemptsRequest())
            assert (first.position, first.now_s) == (3, 2.5)
            assert list(first.sent_s) == pytest.approx([0.0, 1.0, 2.0])
            world.hosts["cna-01"].failure = FULL
            await world.at(3.5)
            then = await world.stub.ReadAttempts(pb.ReadAttemptsRequest(after=first.position))
            assert (list(then.client), list(then.answered)) == ([0], [False])
            assert list(then.ended_s) == pytest.approx([3.0])

    in_virtual_time(scenario())
