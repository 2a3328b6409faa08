"""The commands about clients, failovers and datastores."""

# The generated services name the methods.
# ruff: noqa: N802

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from cluster.cli import gateway
from cluster.parties import GATEWAY
from cluster.rpc.v1 import service_pb2 as service
from cluster.rpc.v1 import service_pb2_grpc
from cluster.rpc.v1 import vrm_pb2 as vrm
from cluster.rpc.v1.vrm_pb2_grpc import add_VrmServicer_to_server
from fusion.spec import GIB
from tests.cluster.cli_said import Fusion
from tests.cluster.cli_vrm import ServedVrm, TalkingVrm, a_run


def a_client(name: str, **changes: Any) -> service.ReadClientsReply.Client:
    fields = {
        "name": name,
        "vm": "web-01",
        "durability": service.DURABILITY_DISK,
        "requests": 130,
        "answered": 128,
        "failed": 2,
        "longest_gap_s": 26.5,
        "latency_p50_s": 0.0021,
        "latency_p95_s": 0.004,
        "latency_p99_s": 1.25,
        "gaps": [service.ReadClientsReply.Gap(from_s=99.5, to_s=126.0)],
    }
    return service.ReadClientsReply.Client(**{**fields, **changes})


FAILOVERS = [
    vrm.Failover(
        number=1,
        vm="i-00000001",
        vm_name="web-01",
        from_host="cna-01",
        to_host="cna-02",
        cause="dead",
        last_seen_s=99.0,
        detected_s=103.0,
        fenced_s=109.0,
        queued_s=109.5,
        placed_s=110.0,
        started_s=110.5,
        running_s=125.5,
        attempts=1,
        outcome="running",
    ),
    vrm.Failover(
        number=2,
        vm="i-00000002",
        vm_name="web-02",
        from_host="cna-01",
        cause="dead",
        last_seen_s=99.0,
        detected_s=103.0,
        fenced_s=-1.0,
        queued_s=-1.0,
        placed_s=-1.0,
        started_s=-1.0,
        running_s=-1.0,
        outcome="under way",
    ),
]


class StorageVrm(TalkingVrm):
    """Has storage, and lost a host."""

    async def ListFailovers(self, request: Any, context: Any) -> vrm.ListFailoversAnswer:
        return vrm.ListFailoversAnswer(failovers=FAILOVERS)

    async def ListDatastores(self, request: Any, context: Any) -> vrm.ListDatastoresAnswer:
        datastore = vrm.Datastore(
            name="ds-1",
            array="san-1",
            reachable=True,
            capacity_bytes=1000 * GIB,
            allocated_bytes=250 * GIB,
            provisioned_bytes=1300 * GIB,
            volumes=40,
        )
        return vrm.ListDatastoresAnswer(datastores=[datastore])


class TalkingGateway(service_pb2_grpc.GatewayServicer):
    """Tells of two clients; ledgers have lost what ``verified`` says."""

    def __init__(self) -> None:
        self.clients = [
            a_client("shop"),
            a_client("late", vm="web-02", requests=0, answered=0, failed=0, gaps=[]),
        ]
        self.verified: dict[str, int] = {}

    async def ReadClients(self, request: Any, context: Any) -> service.ReadClientsReply:
        reply = service.ReadClientsReply(clients=self.clients)
        for client in reply.clients:
            if request.verify and client.name in self.verified:
                client.verified, client.lost = True, self.verified[client.name]
                client.lost_durable = client.lost
            if not request.gaps:
                del client.gaps[:]
        return reply


class Served(ServedVrm):
    """Such a VRM, and at the same address a gateway."""

    def __init__(self) -> None:
        super().__init__()
        self.vrm = StorageVrm()
        self.gateway = TalkingGateway()  # type: ignore[abstract]

    async def _start(self) -> None:
        self._server = grpc.aio.server()
        add_VrmServicer_to_server(self.vrm, self._server)
        service_pb2_grpc.add_GatewayServicer_to_server(self.gateway, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        self._ready.set()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    server = Served()
    with server:
        run = a_run("demo", server.port, tmp_path / "run-1")
        replace(run, addresses={**run.addresses, GATEWAY: run.vrm_address}).save()
        yield server


@pytest.fixture
def without_gateway(served: Served, tmp_path: Path) -> Served:
    a_run("demo", served.port, tmp_path / "run-1")
    return served


def test_clients_as_json(served: Served, fusion: Fusion) -> None:
    said = fusion("client", "list", "--json")
    assert (said.code, said.err) == (0, "")
    shop, late = said.document["clients"]
    assert shop == {
        "name": "shop",
        "vm": "web-01",
        "durability": "disk",
        "requests": 130,
        "answered": 128,
        "failed": 2,
        "latency_p50_s": 0.0021,
        "latency_p95_s": 0.004,
        "latency_p99_s": 1.25,
        "longest_gap_s": 26.5,
        "lost": None,
        "lost_durable": None,
    }
    assert (late["requests"], late["latency_p50_s"], late["longest_gap_s"]) == (0, None, None)


def test_clients_as_a_table(served: Served, fusion: Fusion) -> None:
    said = fusion("client", "list")
    heading, shop, late = said.out.splitlines()
    assert heading.split()[:2] == ["CLIENT", "VM"]
    assert all(cell in shop for cell in ("shop", "2.1ms", "1.2s", "26.5s"))
    assert late.split()[-2:] == ["-", "-"]


def test_what_is_lost_is_said(served: Served, fusion: Fusion) -> None:
    served.gateway.verified = {"shop": 3, "late": 0}
    said = fusion("client", "list", "--verify", "--json")
    assert said.code == 0
    assert [client["lost_durable"] for client in said.document["clients"]] == [3, 0]
    assert "client shop was told that 3 entries are on disk which VM web-01 does not" in said.err


def test_a_ledger_that_cannot_be_read_is_said(served: Served, fusion: Fusion) -> None:
    served.gateway.verified = {"shop": 0}
    said = fusion("client", "list", "--verify")
    assert said.err.splitlines() == [
        "warning: the ledger of client late in VM web-02 could not be read"
    ]
    assert said.out.splitlines()[1].split()[-1] == "0"


def test_a_datacenter_without_a_gateway_has_no_clients(
    without_gateway: Served, fusion: Fusion
) -> None:
    assert fusion("client", "list").out == "There are no clients.\n"
    rows = fusion("failover", "list", "--json").document["failovers"]
    assert rows[0]["client"] is None
    assert rows[0]["phases"]["detect_s"] == 4.0


def test_failovers_add_up_to_what_the_client_missed(served: Served, fusion: Fusion) -> None:
    said = fusion("failover", "list", "--json")
    assert (said.code, said.err) == (0, "")
    first, second = said.document["failovers"]
    assert first["phases"] == {
        "detect_s": 3.5,
        "fence_s": 6.0,
        "queue_s": 0.5,
        "place_s": 1.0,
        "boot_s": 15.0,
        "first_answer_s": 0.5,
    }
    assert sum(first["phases"].values()) == first["gap_s"] == 26.5
    assert (first["client"], first["last_answer_s"], first["first_answer_s"]) == (
        *("shop", 99.5, 126.0),
    )
    assert (first["from_host"], first["to_host"], first["placed_s"]) == ("cna-01", "cna-02", 110.0)
    assert (second["to_host"], second["fenced_s"], second["client"]) == (None, None, None)
    assert second["phases"]["fence_s"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("client", "list"),
        ("client", "list", "--verify"),
        ("failover", "list"),
        ("datastore", "list"),
    ],
)
@pytest.mark.parametrize("columns", [80, 200])
def test_tables_fit(
    served: Served,
    fusion: Fusion,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    columns: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    served.gateway.verified = {"shop": 0, "late": 0}
    said = fusion(*arguments)
    assert (said.code, said.err) == (0, "")
    assert 2 <= len(said.out.splitlines()) <= 3
    assert max(map(len, said.out.splitlines())) <= columns


def test_datastores(served: Served, fusion: Fusion) -> None:
    (row,) = fusion("datastore", "list", "--json").document["datastores"]
    assert row == {
        "name": "ds-1",
        "array": "san-1",
        "reachable": True,
        "capacity_bytes": 1000 * GIB,
        "allocated_bytes": 250 * GIB,
        "provisioned_bytes": 1300 * GIB,
        "volumes": 40,
    }
    assert fusion("datastore", "list").out.splitlines()[1].split()[-4:] == ["25", "%", "130", "%"]


def test_a_gateway_that_keeps_silent(
    served: Served, fusion: Fusion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gateway, "CONNECT_TIMEOUT_S", 0.2)
    run = a_run("demo", served.port, tmp_path / "run-1")
    replace(run, addresses={**run.addresses, GATEWAY: "127.0.0.1:1"}).save()
    said = fusion("client", "list", "--json")
    assert (said.code, said.document["error"]["kind"]) == (1, "unreachable")
    assert "the gateway of demo at 127.0.0.1:1 does not answer" in said.err
    said = fusion("failover", "list", "--json")
    assert (said.code, said.document["failovers"][0]["client"]) == (0, None)
    assert "what clients missed is not known" in said.err


def test_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fusion: Fusion) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    for what in ("client", "failover", "datastore"):
        assert fusion(what, "list").code == 2
    assert asyncio.run(gateway.read_clients(a_run("demo", 1, tmp_path / "run-1"))) == []
