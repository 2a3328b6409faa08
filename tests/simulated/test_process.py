"""What it means that a process dies, hangs, or dies while it starts."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator

import grpc
import pytest

from cluster.network import Plane
from cluster.role import Role
from cluster.simulated.loop import RunFailed
from cluster.simulated.process import Process
from cluster.simulated.stores import Disk
from cluster.simulated.wires import Quality
from fusion.errors import FusionError
from tests.simulated.nodes import METHOD, Nodes


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    nodes = Nodes()
    nodes.serve("witness")
    yield nodes
    nodes.close()


class Actor:
    """A role that does what a test says, between serving and its end."""

    def __init__(self, process: Process, nodes: Nodes) -> None:
        self.process = process
        self.nodes = nodes
        self.log: list[str] = []

    async def run(self, serving: Callable[[], None]) -> None:
        name = self.process.name
        server = await self.process.network.serve(name, self.nodes.registration(name))
        try:
            serving()
            await self.act()
            await asyncio.Event().wait()
        finally:
            self.log.append("finally")
            await self.last_words()
            await server.stop()

    async def act(self) -> None:
        """Nothing, unless a test has something in mind."""

    async def last_words(self) -> None:
        """Nothing, unless a test has something in mind."""

    async def tell(self, what: bytes) -> None:
        channel = self.process.network.channel("witness")
        await channel.unary_unary(METHOD)(what, timeout=5.0)


def started(nodes: Nodes, make: type[Actor] = Actor, disk: Disk | None = None) -> Actor:
    process = Process("actor", nodes.fabric, disk or Disk())
    made: list[Actor] = []

    def role(process: Process) -> Role:
        made.append(make(process, nodes))
        return made[0]

    nodes.loop.run_until_complete(process.start(role))
    return made[0]


# --- death


def test_nothing_in_a_finally_reaches_anybody(nodes: Nodes) -> None:
    class Talkative(Actor):
        async def last_words(self) -> None:
            asyncio.get_running_loop().create_task(self.tell(b"from a task"))
            with pytest.raises(asyncio.CancelledError):
                await self.process.clock.sleep(0.0)
            with pytest.raises(asyncio.CancelledError):
                await self.process.network.serve("other", self.nodes.registration("other"))
            self.log.append("tried all")
            await self.tell(b"from the finally")
            self.log.append("never")

    actor = started(nodes, Talkative)
    actor.process.kill()
    nodes.loop.run_until(60.0)
    assert actor.log == ["finally", "tried all"]
    assert nodes.asked == []
    assert actor.process.party.open_tasks() == []
    assert not actor.process.alive


def test_what_it_did_not_commit_is_gone_and_a_finally_commits_nothing(nodes: Nodes) -> None:
    class Writing(Actor):
        async def act(self) -> None:
            self.store = self.process.stores.open("facts")
            self.store.isolation_level = None
            self.store.execute("CREATE TABLE t (value TEXT)")
            self.store.execute("BEGIN")
            self.store.execute("INSERT INTO t VALUES ('half done')")

        async def last_words(self) -> None:
            with pytest.raises(sqlite3.ProgrammingError):
                self.store.execute("COMMIT")
            self.log.append("refused")

    disk = Disk()
    actor = started(nodes, Writing, disk)
    nodes.loop.run_until(1.0)
    actor.process.kill()
    nodes.loop.run_until(2.0)
    assert actor.log == ["finally", "refused"]
    successor = started(nodes, Actor, disk)
    assert successor.process.stores.open("facts").execute("SELECT * FROM t").fetchall() == []


def test_who_retries_for_ever_ends_all_the_same(nodes: Nodes) -> None:
    class Stubborn(Actor):
        async def last_words(self) -> None:
            while True:
                try:
                    await self.tell(b"again")
                except Exception:
                    self.log.append("again")

    actor = started(nodes, Stubborn)
    actor.process.kill()
    nodes.loop.run_until(1.0)
    assert actor.log == ["finally"]
    assert actor.process.party.open_tasks() == []


def test_callers_of_the_dead_hear_unavailable_and_servers_of_its_calls_are_cancelled(
    nodes: Nodes,
) -> None:
    class Asking(Actor):
        async def act(self) -> None:
            await self.tell(b"hang")

    actor = started(nodes, Asking)
    nodes.loop.call_at(2.0, actor.process.kill)
    assert nodes.outcome("a", "actor", request=b"hang") == ("UNAVAILABLE", 2.001)
    assert ("witness", b"cancelled") in [seen[1:] for seen in nodes.asked]
    assert nodes.outcome("a", "actor")[0] == "UNAVAILABLE"


def test_what_was_sent_before_the_death_arrives(nodes: Nodes) -> None:
    class Asking(Actor):
        async def act(self) -> None:
            asyncio.get_running_loop().create_task(self.tell(b"just in time"))
            await asyncio.sleep(0.0005)
            asyncio.get_running_loop().call_soon(self.process.kill)

    started(nodes, Asking)
    nodes.loop.run_until(1.0)
    assert [seen[1:] for seen in nodes.asked] == [("witness", b"just in time")]


def test_the_next_incarnation_is_not_troubled_by_the_last(nodes: Nodes) -> None:
    first = started(nodes)
    first.process.kill()
    second = started(nodes)
    nodes.loop.run_until(1.0)
    assert nodes.outcome("a", "actor")[0] == "OK"
    assert second.process.alive
    first.process.kill()
    assert nodes.outcome("a", "actor")[0] == "OK"


def test_a_name_is_served_once(nodes: Nodes) -> None:
    started(nodes)
    with pytest.raises(RunFailed, match="its address is taken"):
        started(nodes)


def test_a_role_that_ends_by_itself_fails_the_run(nodes: Nodes) -> None:
    class Crashing(Actor):
        async def act(self) -> None:
            await self.process.clock.sleep(3.0)
            raise ValueError("boo")

    started(nodes, Crashing)
    with pytest.raises(RunFailed, match=r"at 3\.000 s: actor ended by itself: ValueError\('boo'\)"):
        nodes.loop.run_until(10.0)


# --- death while it starts


def test_killed_before_it_served_its_starter_is_told(nodes: Nodes) -> None:
    class Slow(Actor):
        async def run(self, serving: Callable[[], None]) -> None:
            await self.process.clock.sleep(10.0)
            raise AssertionError("it was killed before that")

    process = Process("actor", nodes.fabric, Disk())
    nodes.loop.call_at(2.0, process.kill)
    with pytest.raises(FusionError, match="actor was killed before it served"):
        nodes.loop.run_until_complete(process.start(lambda process: Slow(process, nodes)))
    assert nodes.loop.now_s == 2.0
    nodes.loop.run_until(60.0)


# --- hanging


def test_what_was_asked_of_a_hung_process_is_answered_when_it_wakes(nodes: Nodes) -> None:
    actor = started(nodes)
    actor.process.hang()
    nodes.loop.call_at(8.0, actor.process.wake)
    assert nodes.outcome("a", "actor", timeout=20.0) == ("OK", 8.001)


def test_what_was_given_up_meanwhile_is_not_done_on_waking(nodes: Nodes) -> None:
    actor = started(nodes)
    actor.process.hang()
    assert nodes.outcome("a", "actor", timeout=5.0) == ("DEADLINE_EXCEEDED", 5.0)
    nodes.loop.run_until(6.0)
    actor.process.wake()
    nodes.loop.run_until(10.0)
    assert nodes.asked == []


def test_keepalive_closes_the_connections_of_a_process_that_hangs_for_long(nodes: Nodes) -> None:
    actor = started(nodes)
    nodes.loop.call_at(1.0, actor.process.hang)
    assert nodes.outcome("a", "actor", request=b"hang") == ("UNAVAILABLE", 16.0)
    assert nodes.outcome("a", "actor") == ("UNAVAILABLE", 31.0)  # opened while it hung
    actor.process.wake()
    assert nodes.outcome("a", "actor")[0] == "OK"


def test_a_hung_process_catches_up_with_its_clock(nodes: Nodes) -> None:
    beats: list[float] = []

    class Beating(Actor):
        async def act(self) -> None:
            while True:
                await self.process.clock.sleep(1.0)
                beats.append(self.process.clock.now())

    actor = started(nodes, Beating)
    nodes.loop.call_at(2.5, actor.process.hang)
    nodes.loop.call_at(6.2, actor.process.wake)
    nodes.loop.run_until(8.5)
    assert beats == pytest.approx([1.0, 2.0, 6.2, 7.2, 8.2])


def test_the_answer_to_a_hung_caller_waits_for_it(nodes: Nodes) -> None:
    class Asking(Actor):
        async def act(self) -> None:
            await self.tell(b"hello")
            self.log.append(f"answered at {self.process.clock.now():.3f}")

    nodes.wires.shape("witness", "actor", Plane.MANAGEMENT, Quality(1.0, 0.0))
    actor = started(nodes, Asking)
    nodes.loop.call_at(0.5, actor.process.hang)
    nodes.loop.call_at(9.0, actor.process.wake)
    nodes.loop.run_until(10.0)
    assert actor.log == ["answered at 9.000"]


def test_a_hung_caller_sees_only_on_waking_that_its_time_is_up(nodes: Nodes) -> None:
    class Asking(Actor):
        async def act(self) -> None:
            try:
                await self.tell(b"hang")
            except grpc.aio.AioRpcError as failure:
                self.log.append(f"{failure.code().name} at {self.process.clock.now():.3f}")

    actor = started(nodes, Asking)
    nodes.loop.call_at(1.0, actor.process.hang)
    nodes.loop.call_at(9.0, actor.process.wake)
    assert nodes.outcome("a", "witness", request=b"hang", timeout=6.0)[1] == 6.0
    nodes.loop.run_until(10.0)
    assert actor.log == ["DEADLINE_EXCEEDED at 9.000"]
    cancelled = [at_s for at_s, _, request in nodes.asked if request == b"cancelled"]
    assert cancelled == [6.001, 9.001]


def test_a_process_may_be_killed_while_it_hangs(nodes: Nodes) -> None:
    actor = started(nodes)
    actor.process.hang()
    call = asyncio.ensure_future(nodes.settled(lambda: nodes.ask("a", "actor")), loop=nodes.loop)
    nodes.loop.run_until(1.0)
    actor.process.kill()
    assert nodes.loop.run_until_complete(call) == ("UNAVAILABLE", 1.001)
    assert nodes.asked == []
    assert actor.process.party.open_tasks() == []
    assert nodes.loop.frozen == 0
