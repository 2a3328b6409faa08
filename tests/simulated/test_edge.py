"""The one message that speaks for several hosts, where some of them are cut off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cluster.network import Plane
from cluster.rpc.figures import from_message, to_message
from cluster.rpc.v1 import common_pb2, registry_pb2_grpc
from cluster.rpc.v1 import registry_pb2 as pb
from cluster.simulated.network import SimulatedNetwork
from tests.simulated.nodes import Nodes

HOSTS = ("h1", "h2", "h3")


class Listener(registry_pb2_grpc.RegistryServicer):
    """A VRM that keeps what it hears and wants every host to register again."""

    def __init__(self) -> None:
        self.reports: list[pb.ReportRequest] = []
        self.registrations: list[pb.RegisterRequest] = []

    async def Report(self, request: Any, context: Any) -> pb.ReportReply:  # noqa: N802
        self.reports.append(request)
        return pb.ReportReply(unregistered=request.host)

    async def Register(self, request: Any, context: Any) -> pb.RegisterReply:  # noqa: N802
        self.registrations.append(request)
        return pb.RegisterReply()


class Edge:
    """A process ``chassis`` with three hosts of two VMs each, and a listener as ``vrm``."""

    def __init__(self) -> None:
        self.nodes = Nodes()
        self.vrm = Listener()
        for host in HOSTS:
            self.nodes.fabric.place(host, "chassis")
        self.nodes.loop.run_until_complete(
            SimulatedNetwork(self.nodes.fabric, "vrm").serve(
                "vrm",
                lambda server: registry_pb2_grpc.add_RegistryServicer_to_server(self.vrm, server),
            )
        )
        self._stub = registry_pb2_grpc.RegistryStub(
            SimulatedNetwork(self.nodes.fabric, "chassis").channel("vrm")
        )

    def cut(self, source: str, target: str) -> None:
        self.nodes.wires.cut(source, target, Plane.MANAGEMENT)

    def report(self, timeout: float = 1.0) -> list[str] | str:
        """Send a report; return who is to register again, or how it failed."""
        rows = pb.VmRows(
            vm_number=range(10, 16),
            host_row=[0, 0, 1, 1, 2, 2],
            cpu_used_mhz=to_message(range(6)),
        )
        request = pb.ReportRequest(
            host=HOSTS, incarnation=[1, 2, 3], cpu_used_mhz=[10, 20, 30], vms=rows
        )
        replies: list[list[str]] = []

        async def send() -> None:
            reply = await self._stub.Report(request, timeout=timeout)
            replies.append(list(reply.unregistered))

        seen, _ = self.nodes.loop.run_until_complete(self.nodes.settled(send))
        return replies[0] if replies else str(seen)

    def register(self) -> str:
        entries = [
            pb.RegisterRequest.Host(spec=common_pb2.HostSpec(name=host), incarnation=1)
            for host in HOSTS
        ]
        request = pb.RegisterRequest(
            hosts=entries, vms=pb.VmRows(vm_number=[7, 8, 9], host_row=[2, 1, 0])
        )
        seen, _ = self.nodes.loop.run_until_complete(
            self.nodes.settled(lambda: self._stub.Register(request, timeout=1.0))
        )
        return str(seen)


@pytest.fixture
def edge() -> Iterator[Edge]:
    edge = Edge()
    yield edge
    edge.nodes.close()


def test_what_nobody_cuts_is_left_as_it_is(edge: Edge) -> None:
    edge.cut("h1", "san-1")
    edge.cut("elsewhere", "vrm")
    assert edge.report() == list(HOSTS)
    assert list(edge.vrm.reports[0].vms.host_row) == [0, 0, 1, 1, 2, 2]


def test_a_host_that_cannot_send_is_not_in_the_report(edge: Edge) -> None:
    edge.cut("h2", "vrm")
    assert edge.report() == ["h1", "h3"]
    (heard,) = edge.vrm.reports
    assert list(heard.host) == ["h1", "h3"]
    assert list(heard.incarnation) == [1, 3]
    assert list(heard.cpu_used_mhz) == [10, 30]
    assert list(heard.vms.vm_number) == [10, 11, 14, 15]
    assert list(heard.vms.host_row) == [0, 0, 1, 1]
    assert from_message(heard.vms.cpu_used_mhz).tolist() == [0, 1, 4, 5]


def test_a_host_that_cannot_hear_is_in_the_report_and_not_in_the_answer(edge: Edge) -> None:
    edge.cut("vrm", "h2")
    assert edge.report() == ["h1", "h3"]
    assert list(edge.vrm.reports[0].host) == list(HOSTS)


@pytest.mark.parametrize("link", [("h2", "vrm"), ("vrm", "h2")], ids=["out", "back"])
def test_a_registration_that_cannot_be_answered_is_not_let_out(
    edge: Edge, link: tuple[str, str]
) -> None:
    edge.cut(*link)
    assert edge.register() == "OK"
    (heard,) = edge.vrm.registrations
    assert [entry.spec.name for entry in heard.hosts] == ["h1", "h3"]
    assert list(heard.vms.vm_number) == [7, 9]
    assert list(heard.vms.host_row) == [1, 0]


def test_where_all_are_cut_off_the_message_is_held_as_a_whole(edge: Edge) -> None:
    for host in HOSTS:
        edge.cut(host, "vrm")
    edge.nodes.loop.call_later(3.0, edge.nodes.wires.mend, "h1", "vrm", Plane.MANAGEMENT)
    assert edge.report(timeout=1.0) == "DEADLINE_EXCEEDED"
    assert edge.vrm.reports == []
    assert edge.report(timeout=5.0) == list(HOSTS)


def test_another_plane_is_another_matter(edge: Edge) -> None:
    edge.nodes.wires.cut("h2", "vrm", Plane.STORAGE)
    assert edge.report() == list(HOSTS)
