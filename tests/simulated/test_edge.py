"""The messages that speak for several hosts, where some of them are cut off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cluster.network import Plane
from cluster.rpc.figures import from_message, to_message
from cluster.rpc.v1 import common_pb2, registry_pb2_grpc, storage_pb2, storage_pb2_grpc
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


class Array(storage_pb2_grpc.StorageArrayServicer):
    """An array that keeps what it hears."""

    def __init__(self) -> None:
        self.renewals: list[storage_pb2.RenewRequest] = []
        self.openings: list[storage_pb2.OpenRequest] = []

    async def Renew(self, request: Any, context: Any) -> storage_pb2.RenewReply:  # noqa: N802
        self.renewals.append(request)
        return storage_pb2.RenewReply(lease_s=9.0, host=request.host)

    async def Open(self, request: Any, context: Any) -> storage_pb2.OpenReply:  # noqa: N802
        self.openings.append(request)
        return storage_pb2.OpenReply(lease_s=9.0)


class Edge:
    """A process ``chassis`` with three hosts of two VMs each; a listener ``vrm``; an array."""

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
        self.array = Array()  # type: ignore[abstract]
        self.nodes.loop.run_until_complete(
            SimulatedNetwork(self.nodes.fabric, "san-1").serve(
                "san-1",
                lambda server: storage_pb2_grpc.add_StorageArrayServicer_to_server(
                    self.array, server
                ),
            )
        )
        network = SimulatedNetwork(self.nodes.fabric, "chassis")
        self._stub = registry_pb2_grpc.RegistryStub(network.channel("vrm"))
        self._storage = storage_pb2_grpc.StorageArrayStub(network.channel("san-1", Plane.STORAGE))

    def cut(self, source: str, target: str) -> None:
        self.nodes.wires.cut(source, target, Plane.MANAGEMENT)

    def cut_storage(self, source: str, target: str) -> None:
        self.nodes.wires.cut(source, target, Plane.STORAGE)

    def report(self, timeout: float = 1.0) -> list[str] | str:
        """Send a report; return who is to register again, or how it failed."""
        rows = pb.VmRows(
            vm_number=range(10, 16),
            host_row=[0, 0, 1, 1, 2, 2],
            cpu_used_mhz=to_message(range(6)),
            held_vm=[12, 15],
            held_cause=[pb.HOLD_CAUSE_LEASE, pb.HOLD_CAUSE_SPACE],
        )
        request = pb.ReportRequest(
            host=HOSTS,
            incarnation=[1, 2, 3],
            cpu_used_mhz=[10, 20, 30],
            vms=rows,
            storage_less=["h3"],
            since=9,
            notices=[pb.Notice(host="h2", vm_number=12), pb.Notice(host="h3", vm_number=15)],
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
            hosts=entries,
            vms=pb.VmRows(vm_number=[7, 8, 9], host_row=[2, 1, 0], epoch=[70, 80, 90]),
        )
        seen, _ = self.nodes.loop.run_until_complete(
            self.nodes.settled(lambda: self._stub.Register(request, timeout=1.0))
        )
        return str(seen)

    def renew(self) -> list[str] | str:
        """Send a renewal; return which hosts the answer names, or how it failed."""
        request = storage_pb2.RenewRequest(
            host=HOSTS,
            incarnation=[1, 2, 3],
            isolated=[False, True, False],
            vm_number=[7, 8, 9],
            host_row=[2, 1, 0],
            epoch=[70, 80, 90],
        )
        replies: list[list[str]] = []

        async def send() -> None:
            reply = await self._storage.Renew(request, timeout=1.0)
            replies.append(list(reply.host))

        seen, _ = self.nodes.loop.run_until_complete(self.nodes.settled(send))
        return replies[0] if replies else str(seen)

    def open(self, host: str) -> str:
        request = storage_pb2.OpenRequest(host=host, incarnation=1, vm_number=[7], epoch=[70])
        seen, _ = self.nodes.loop.run_until_complete(
            self.nodes.settled(lambda: self._storage.Open(request, timeout=1.0))
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
    assert edge.vrm.reports[0].since == 9


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


def test_what_a_report_says_of_some_hosts_only_stays_with_those(edge: Edge) -> None:
    edge.cut("h2", "vrm")
    edge.report()
    (heard,) = edge.vrm.reports
    assert list(heard.vms.held_vm) == [15]
    assert list(heard.vms.held_cause) == [pb.HOLD_CAUSE_SPACE]
    assert list(heard.storage_less) == ["h3"]
    assert [notice.host for notice in heard.notices] == ["h3"]
    assert not heard.since  # nobody says that it is as the last one


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
    assert list(heard.vms.epoch) == [70, 90]


def test_where_all_are_cut_off_the_message_is_held_as_a_whole(edge: Edge) -> None:
    for host in HOSTS:
        edge.cut(host, "vrm")
    edge.nodes.loop.call_later(3.0, edge.nodes.wires.mend, "h1", "vrm", Plane.MANAGEMENT)
    assert edge.report(timeout=1.0) == "DEADLINE_EXCEEDED"
    assert edge.vrm.reports == []
    assert edge.report(timeout=5.0) == list(HOSTS)


def test_another_plane_is_another_matter(edge: Edge) -> None:
    edge.cut_storage("h2", "vrm")
    edge.cut("h2", "san-1")
    assert edge.report() == list(HOSTS)
    assert edge.renew() == list(HOSTS)


def test_a_host_that_cannot_send_to_an_array_renews_nothing_there(edge: Edge) -> None:
    edge.cut_storage("h2", "san-1")
    assert edge.renew() == ["h1", "h3"]
    (heard,) = edge.array.renewals
    assert list(heard.host) == ["h1", "h3"]
    assert list(heard.incarnation) == [1, 3]
    assert list(heard.isolated) == [False, False]
    assert list(heard.vm_number) == [7, 9]
    assert list(heard.host_row) == [1, 0]
    assert list(heard.epoch) == [70, 90]


def test_a_host_that_cannot_hear_an_array_renews_there_and_does_not_know(edge: Edge) -> None:
    edge.cut_storage("san-1", "h2")
    assert edge.renew() == ["h1", "h3"]
    assert list(edge.array.renewals[0].host) == list(HOSTS)


def test_where_no_host_reaches_an_array_the_renewal_is_held(edge: Edge) -> None:
    for host in HOSTS:
        edge.cut_storage(host, "san-1")
    assert edge.renew() == "DEADLINE_EXCEEDED"
    assert edge.array.renewals == []


def test_volumes_are_opened_over_the_links_of_their_host(edge: Edge) -> None:
    edge.cut_storage("h2", "san-1")
    assert edge.open("h2") == "DEADLINE_EXCEEDED"
    assert edge.open("h1") == "OK"
    assert [each.host for each in edge.array.openings] == ["h1"]


def test_a_host_that_cannot_hear_an_array_opens_volumes_there_and_does_not_know(
    edge: Edge,
) -> None:
    edge.cut_storage("san-1", "h2")
    assert edge.open("h2") == "DEADLINE_EXCEEDED"
    assert [each.host for each in edge.array.openings] == ["h2"]
