"""Links: latency, bandwidth, order, loss, duplication and partitions."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.network import Plane
from cluster.simulated.bandwidth import FairShare, Flow
from cluster.simulated.loop import VirtualLoop
from cluster.simulated.network import SimulatedNetwork
from cluster.simulated.wires import FRAMING_BYTES, Lane, LinkKey, Quality, Wires
from fusion import seeds
from tests.simulated.nodes import Nodes

GBIT_BPS = 1e9
A_TO_B: LinkKey = ("a", "b", Plane.MIGRATION)

Wiring = Callable[..., tuple[VirtualLoop, Wires]]


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    nodes = Nodes()
    nodes.serve("b", "c")
    yield nodes
    nodes.close()


# --- bandwidth and latency


@pytest.fixture
def wires() -> Iterator[Wiring]:
    """Return what makes a loop and the links in it."""
    loops: list[VirtualLoop] = []

    def make(quality: Quality, seed: int = 1) -> tuple[VirtualLoop, Wires]:
        loop = VirtualLoop()  # type: ignore[abstract]
        loops.append(loop)
        return loop, Wires(loop, seeds.generator(seed, "network"), quality)

    yield make
    for loop in loops:
        loop.close()


def megabytes(count: float) -> int:
    return int(count * 1e6) - FRAMING_BYTES


@pytest.mark.parametrize("together", [1, 2, 5])
def test_ten_megabytes_take_eighty_milliseconds_alone_and_longer_together(
    wires: Wiring, together: int
) -> None:
    loop, link = wires(Quality(latency_s=0.0, jitter_s=0.0, bandwidth_bps=GBIT_BPS))
    arrivals: list[float] = []
    for _ in range(together):
        link.send_over(
            link.link(A_TO_B), Lane(), megabytes(10), lambda: arrivals.append(loop.now_s)
        )
    loop.run_until(10.0)
    assert arrivals == pytest.approx([0.08 * together] * together)


def test_what_joins_later_shares_from_then_on(wires: Wiring) -> None:
    loop, link = wires(Quality(latency_s=0.0, jitter_s=0.0, bandwidth_bps=GBIT_BPS))
    arrivals: list[tuple[str, float]] = []

    def send(name: str, size: float) -> None:
        link.send_over(
            link.link(A_TO_B),
            Lane(),
            megabytes(size),
            lambda: arrivals.append((name, round(loop.now_s, 9))),
        )

    send("long", 10)
    loop.call_at(0.04, send, "short", 2.5)
    loop.run_until(1.0)
    # Half of the long one is left when the short one joins; they share until that is through.
    assert arrivals == [("short", 0.08), ("long", 0.1)]


def test_one_stream_is_first_in_first_out_whatever_the_sizes(wires: Wiring) -> None:
    loop, link = wires(Quality(latency_s=0.001, jitter_s=0.01, bandwidth_bps=GBIT_BPS))
    arrivals: list[int] = []
    lane = Lane()
    for k, size in enumerate([10.0, 0.001, 3.0, 0.001, 0.001]):
        link.send_over(link.link(A_TO_B), lane, megabytes(size), partial(arrivals.append, k))
    loop.run_until(1.0)
    assert arrivals == [0, 1, 2, 3, 4]


def test_directions_planes_and_pairs_do_not_share(wires: Wiring) -> None:
    loop, link = wires(Quality(latency_s=0.0, jitter_s=0.0, bandwidth_bps=GBIT_BPS))
    arrivals: list[float] = []
    for key in (A_TO_B, ("b", "a", A_TO_B[2]), ("a", "c", A_TO_B[2]), ("a", "b", Plane.SERVICE)):
        link.send_over(link.link(key), Lane(), megabytes(10), lambda: arrivals.append(loop.now_s))
    loop.run_until(1.0)
    assert arrivals == pytest.approx([0.08] * 4)


def test_a_transfer_stands_still_while_its_link_is_cut_and_slows_down_with_it(
    wires: Wiring,
) -> None:
    loop, link = wires(Quality(latency_s=0.0, jitter_s=0.0, bandwidth_bps=GBIT_BPS))
    arrivals: list[float] = []
    link.send_over(link.link(A_TO_B), Lane(), megabytes(10), lambda: arrivals.append(loop.now_s))
    loop.call_at(0.02, link.cut, *A_TO_B)
    loop.call_at(5.02, link.mend, *A_TO_B)
    slow = Quality(latency_s=0.0, jitter_s=0.0, bandwidth_bps=GBIT_BPS / 10)
    loop.call_at(5.04, link.shape, *A_TO_B, slow)
    loop.run_until(10.0)
    assert arrivals == pytest.approx([5.04 + 0.4])


def test_latencies_have_the_stated_distribution(wires: Wiring) -> None:
    loop, link = wires(Quality(latency_s=0.010, jitter_s=0.005))
    arrivals: list[float] = []
    for _ in range(5000):
        link.send_over(link.link(A_TO_B), Lane(), 0, lambda: arrivals.append(loop.now_s))
    loop.run_until(1.0)
    assert min(arrivals) >= 0.010
    assert sum(arrivals) / len(arrivals) == pytest.approx(0.015, rel=0.03)


@given(
    sends=st.lists(
        st.tuples(st.integers(0, 3), st.floats(0.0, 5.0), st.floats(1.0, 1e6)),
        min_size=1,
        max_size=25,
    )
)
def test_a_shared_link_is_never_idle_and_never_exceeded(
    sends: list[tuple[int, float, float]],
) -> None:
    """Against the fluid definition: while anything waits, exactly the bandwidth goes through."""
    bandwidth_bps = 1e6
    loop = VirtualLoop()  # type: ignore[abstract]
    share = FairShare(loop, bandwidth_bps)
    flows = [Flow() for _ in range(4)]
    through: list[tuple[int, float]] = []
    sends = sorted(sends, key=lambda send: send[1])
    for number, (flow, at_s, bits) in enumerate(sends):
        loop.call_at(
            at_s,
            share.send,
            flows[flow],
            bits,
            lambda number=number: through.append((number, loop.now_s)),
        )
    loop.run_until(1000.0)
    loop.close()

    busy_until_s = 0.0
    for _, at_s, bits in sends:
        busy_until_s = max(busy_until_s, at_s) + bits / bandwidth_bps
    assert max(instant_s for _, instant_s in through) == pytest.approx(busy_until_s)
    for flow in range(4):
        order = [number for number, _ in through if sends[number][0] == flow]
        assert order == sorted(order)
    for number, instant_s in through:
        _, at_s, bits = sends[number]
        assert instant_s >= at_s + bits / bandwidth_bps - 1e-9
    assert len(through) == len(sends)


# --- partitions


def test_a_dead_peer_refuses_at_once(nodes: Nodes) -> None:
    assert nodes.outcome("a", "nobody", timeout=30.0) == ("UNAVAILABLE", 0.002)


OUT, BACK = ("a", "b", Plane.MANAGEMENT), ("b", "a", Plane.MANAGEMENT)


@pytest.mark.parametrize("links", [(OUT,), (BACK,), (OUT, BACK)], ids=["out", "back", "both"])
def test_through_a_partition_the_deadline_passes(nodes: Nodes, links: tuple[LinkKey, ...]) -> None:
    for link in links:
        nodes.wires.cut(*link)
    assert nodes.outcome("a", "b", timeout=5.0) == ("DEADLINE_EXCEEDED", 5.0)
    assert [node for _, node, _ in nodes.asked] == ([] if OUT in links else ["b"])


@pytest.mark.parametrize("link", [OUT, BACK], ids=["out", "back"])
def test_without_a_deadline_keepalive_gives_up(nodes: Nodes, link: LinkKey) -> None:
    nodes.wires.cut(*link)
    assert nodes.outcome("a", "b") == ("UNAVAILABLE", 15.0)


def test_keepalive_gives_up_calls_under_way_when_the_cut_comes(nodes: Nodes) -> None:
    nodes.loop.call_at(3.0, nodes.wires.cut, "b", "a", Plane.MANAGEMENT)
    assert nodes.outcome("a", "b", request=b"hang") == ("UNAVAILABLE", 18.0)
    nodes.loop.run_until(18.1)
    assert nodes.asked[-1] == (18.001, "b", b"cancelled"), "the way out is open"


def test_a_server_behind_a_cut_learns_of_it_once_that_is_mended(nodes: Nodes) -> None:
    nodes.loop.call_at(3.0, nodes.wires.cut, "a", "b", Plane.MANAGEMENT)
    nodes.loop.call_at(40.0, nodes.wires.mend, "a", "b", Plane.MANAGEMENT)
    assert nodes.outcome("a", "b", request=b"hang")[0] == "UNAVAILABLE"
    nodes.loop.run_until(39.0)
    assert [request for _, _, request in nodes.asked] == [b"hang"]
    nodes.loop.run_until(41.0)
    assert nodes.asked[-1] == (40.001, "b", b"cancelled")


def test_cuts_that_never_last_let_the_connection_live(nodes: Nodes) -> None:
    for begin_s in range(1, 60, 10):
        nodes.loop.call_at(begin_s, nodes.wires.cut, "a", "b", Plane.MANAGEMENT)
        nodes.loop.call_at(begin_s + 9.0, nodes.wires.mend, "a", "b", Plane.MANAGEMENT)
    assert nodes.outcome("a", "b", request=b"hang", timeout=60.0)[0] == "DEADLINE_EXCEEDED"


def test_what_a_short_cut_held_arrives_in_its_order(nodes: Nodes) -> None:
    async def play() -> list[tuple[str, float]]:
        nodes.wires.cut("a", "b", Plane.MANAGEMENT)
        calls = [
            asyncio.ensure_future(nodes.settled(partial(nodes.ask, "a", "b", b"%d" % k)))
            for k in range(5)
        ]
        await asyncio.sleep(4.0)
        nodes.wires.mend("a", "b", Plane.MANAGEMENT)
        return await asyncio.gather(*calls)

    outcomes = nodes.loop.run_until_complete(play())
    assert outcomes == [("OK", 4.002)] * 5
    assert [request for _, _, request in nodes.asked] == [b"0", b"1", b"2", b"3", b"4"]


def test_cuts_add_up_and_concern_their_plane_and_pair_only(nodes: Nodes) -> None:
    nodes.wires.cut("a", "b", Plane.MANAGEMENT)
    nodes.wires.cut("a", "b", Plane.MANAGEMENT)
    nodes.wires.mend("a", "b", Plane.MANAGEMENT)
    assert nodes.outcome("a", "b", timeout=1.0)[0] == "DEADLINE_EXCEEDED"
    assert nodes.outcome("a", "b", timeout=1.0, plane=Plane.STORAGE)[0] == "OK"
    assert nodes.outcome("a", "c", timeout=1.0)[0] == "OK"
    assert nodes.outcome("x", "b", timeout=1.0)[0] == "OK"
    nodes.wires.mend("a", "b", Plane.MANAGEMENT)
    assert nodes.outcome("a", "b", timeout=1.0)[0] == "OK"
    with pytest.raises(ValueError, match="management link from a to b is not cut"):
        nodes.wires.mend("a", "b", Plane.MANAGEMENT)


def test_within_a_node_there_is_no_link(nodes: Nodes) -> None:
    nodes.wires.cut("b", "b", Plane.MANAGEMENT)
    assert nodes.outcome("b", "b") == ("OK", 0.0)


# --- loss, duplication, slow links


def test_a_lost_request_is_never_seen_and_a_lost_answer_leaves_the_deed(nodes: Nodes) -> None:
    lossy = Quality(latency_s=0.001, jitter_s=0.0, loss=1.0)
    nodes.wires.shape("a", "b", Plane.MANAGEMENT, lossy)
    assert nodes.outcome("a", "b", timeout=2.0)[0] == "DEADLINE_EXCEEDED"
    assert nodes.asked == []
    nodes.wires.shape("a", "b", Plane.MANAGEMENT, None)
    nodes.wires.shape("b", "a", Plane.MANAGEMENT, lossy)
    assert nodes.outcome("a", "b") == ("UNAVAILABLE", 2.0 + 0.001 + 15.0)
    assert [request for _, _, request in nodes.asked] == [b"hello"]


def test_a_duplicate_is_a_second_delivery_whose_answer_is_dropped(nodes: Nodes) -> None:
    twice = Quality(latency_s=0.001, jitter_s=0.0, duplication=1.0)
    nodes.wires.shape("a", "b", Plane.MANAGEMENT, twice)
    assert nodes.outcome("a", "b")[0] == "OK"
    nodes.loop.run_until(1.0)
    assert [request for _, _, request in nodes.asked] == [b"hello", b"hello"]
    assert nodes.fabric.calls == 1
    assert not nodes.fabric.open_calls


def test_shares_of_loss_and_duplication_are_as_stated() -> None:
    nodes = Nodes(Quality(latency_s=0.001, jitter_s=0.0, loss=0.1, duplication=0.2))
    nodes.serve("b")

    async def play() -> list[tuple[str, float]]:
        calls = (nodes.settled(lambda: nodes.ask("a", "b", timeout=1.0)) for _ in range(2000))
        return await asyncio.gather(*calls)

    outcomes = nodes.loop.run_until_complete(play())
    answered = sum(seen == "OK" for seen, _ in outcomes)
    assert answered / 2000 == pytest.approx(0.9 * 0.9, abs=0.03)  # both ways lose
    assert len(nodes.asked) / 2000 == pytest.approx(0.9 * 1.2, abs=0.04)
    nodes.close()


def test_a_slow_link_is_slow_one_way(nodes: Nodes) -> None:
    nodes.wires.shape("a", "b", Plane.MANAGEMENT, Quality(latency_s=1.0, jitter_s=0.0))
    assert nodes.outcome("a", "b") == ("OK", 1.001)


@pytest.mark.parametrize("seed", range(30))
def test_a_stream_keeps_its_order_through_jitter_cuts_and_changes(wires: Wiring, seed: int) -> None:
    rng = seeds.generator(seed, "test")
    loop, link = wires(Quality(latency_s=0.01, jitter_s=0.05), seed)
    sent: list[tuple[int, int]] = []
    arrivals: list[tuple[int, int]] = []
    lanes = [Lane() for _ in range(3)]

    def send(lane: int, number: int, size_bytes: int) -> None:
        sent.append((lane, number))
        link.send_over(
            link.link(A_TO_B), lanes[lane], size_bytes, lambda: arrivals.append((lane, number))
        )

    for number in range(60):
        lane, size_bytes = int(rng.integers(3)), int(rng.integers(200_000))
        loop.call_at(float(rng.random() * 3), send, lane, number, size_bytes)
    for _ in range(4):
        begin_s = float(rng.random() * 3)
        loop.call_at(begin_s, link.cut, *A_TO_B)
        loop.call_at(begin_s + float(rng.random()), link.mend, *A_TO_B)
        quality = Quality(0.01, 0.05, float(rng.choice([1e6, 1e7, 1e9, math.inf])))
        loop.call_at(float(rng.random() * 3), link.shape, *A_TO_B, quality)
    loop.run_until(100.0)
    for lane in range(3):
        assert [n for which, n in arrivals if which == lane] == [
            n for which, n in sent if which == lane
        ]


def test_channels_do_not_pretend_to_have_connections(nodes: Nodes) -> None:
    channel: Any = SimulatedNetwork(nodes.fabric, "a").channel("b")
    with pytest.raises(NotImplementedError, match="wait_for_ready"):
        nodes.loop.run_until_complete(channel.channel_ready())
