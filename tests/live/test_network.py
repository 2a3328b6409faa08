"""The live network: emulated time limits, mutual TLS beyond loopback, ports that are taken."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from cluster.live.network import LiveNetwork
from cluster.live.power import LivePower
from cluster.live.tls import COMMON_NAME, Tls, from_environment, needed_beyond_this_machine
from cluster.rpc.v1 import power_pb2, power_pb2_grpc
from fusion.errors import FusionError, Refused
from tests.live.launched import free_address

SPEED = 50.0


class Clockmaker(power_pb2_grpc.PowerServicer):
    """Answers with the whole seconds that its caller leaves it."""

    async def On(self, request: power_pb2.PowerRequest, context: Any) -> power_pb2.PowerReply:  # noqa: N802
        left_s = context.time_remaining()
        return power_pb2.PowerReply(incarnation=0 if left_s is None else round(left_s))

    async def Off(self, request: power_pb2.PowerRequest, context: Any) -> power_pb2.PowerReply:  # noqa: N802
        await asyncio.Event().wait()
        return power_pb2.PowerReply()

    async def Reset(self, request: power_pb2.PowerRequest, context: Any) -> power_pb2.PowerReply:  # noqa: N802
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such clock")
        return power_pb2.PowerReply()


def register(server: grpc.aio.Server) -> None:
    power_pb2_grpc.add_PowerServicer_to_server(Clockmaker(), server)


def with_server(network: LiveNetwork, play: Callable[[LiveNetwork], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        server = await network.serve("bmc", register)
        try:
            return await play(network)
        finally:
            await network.close()
            await server.stop()

    return asyncio.run(run())


@pytest.fixture
def address() -> str:
    return free_address()


def test_handlers_see_emulated_seconds(address: str) -> None:
    async def play(network: LiveNetwork) -> list[int]:
        return [
            await LivePower(network, timeout_s=500.0).on("a"),
            await LivePower(network).on("a"),
        ]

    limited, unlimited = with_server(LiveNetwork(lambda _: address, SPEED), play)
    assert 450 <= limited <= 500
    assert unlimited == 0


def test_callers_wait_emulated_seconds(address: str) -> None:
    async def play(network: LiveNetwork) -> None:
        async with asyncio.timeout(5):  # wall time: ten times what 25 emulated seconds are
            with pytest.raises(FusionError, match="deadline exceeded"):
                await LivePower(network, timeout_s=25.0).off("a")

    with_server(LiveNetwork(lambda _: address, SPEED), play)


def test_refusals_pass_through_the_scaled_context(address: str) -> None:
    async def play(network: LiveNetwork) -> None:
        with pytest.raises(FusionError, match="no such clock"):
            await LivePower(network).reset("a")

    with_server(LiveNetwork(lambda _: address, SPEED), play)


def test_whoever_asks_often_whether_a_server_lives_is_not_cut_off(address: str) -> None:
    """By itself a server of gRPC bears three pings that come within five minutes."""
    pings_s = 4.5  # no client sends more than one a second
    impatient = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]

    async def play(_: LiveNetwork) -> None:
        async with grpc.aio.insecure_channel(address, options=impatient) as channel:
            unanswered = power_pb2_grpc.PowerStub(channel).Off(power_pb2.PowerRequest())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(unanswered, timeout=pings_s)

    with_server(LiveNetwork(lambda _: address), play)


def test_a_taken_port_is_told(address: str) -> None:
    async def play(network: LiveNetwork) -> None:
        with pytest.raises(FusionError, match=f"{address}: the port is taken"):
            await network.serve("bmc", register)

    with_server(LiveNetwork(lambda _: address), play)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make certificates")
    return certificate(tmp_path_factory.mktemp("tls"))


def certificate(folder: Path) -> Tls:
    """Make an authority that signs itself, its own certificate naming ``fusion``."""
    key, pem = str(folder / "key.pem"), str(folder / "cert.pem")
    command = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        f"-subj /CN={COMMON_NAME} -addext subjectAltName=DNS:{COMMON_NAME}"
    )
    outputs = ["-keyout", key, "-out", pem]
    subprocess.run([*command.split(), *outputs], check=True, capture_output=True)
    return Tls(ca=pem, certificate=pem, key=key)


@pytest.fixture
def elsewhere(address: str) -> str:
    """An address that is not 127.0.0.1, and still of this machine."""
    if not Path("/proc").exists():
        pytest.skip("only Linux has more than one loopback address")
    return address.replace("127.0.0.1", "127.0.0.2")


def test_beyond_loopback_both_sides_show_certificates(elsewhere: str, tls: Tls) -> None:
    async def play(network: LiveNetwork) -> int:
        with pytest.raises(FusionError, match="unavailable"):
            plain = LiveNetwork(lambda _: elsewhere)
            await LivePower(plain, timeout_s=5.0).on("a")
        return await LivePower(network, timeout_s=100.0).on("a")

    assert with_server(LiveNetwork(lambda _: elsewhere, tls=tls), play) > 0


def test_a_stranger_with_a_certificate_of_another_authority_is_turned_away(
    elsewhere: str, tls: Tls, tmp_path: Path
) -> None:
    strange = certificate(tmp_path)
    impostor = Tls(ca=tls.ca, certificate=strange.certificate, key=strange.key)

    async def play(_: LiveNetwork) -> None:
        network = LiveNetwork(lambda _: elsewhere, tls=impostor)
        with pytest.raises(FusionError, match="unavailable"):
            await LivePower(network, timeout_s=5.0).on("a")
        await network.close()

    with_server(LiveNetwork(lambda _: elsewhere, tls=tls), play)


def test_without_certificates_nothing_listens_beyond_loopback(elsewhere: str) -> None:
    network = LiveNetwork(lambda _: elsewhere)
    with pytest.raises(FusionError, match="without mutual TLS"):
        asyncio.run(network.serve("bmc", register))


def test_the_vrm_can_listen_in_public_as_well(address: str, elsewhere: str, tls: Tls) -> None:
    async def play(_: LiveNetwork) -> list[int]:
        inside = LivePower(LiveNetwork(lambda _: address), timeout_s=100.0)
        outside = LivePower(LiveNetwork(lambda _: elsewhere, tls=tls), timeout_s=100.0)
        return [await inside.on("a"), await outside.on("a")]

    both = LiveNetwork(lambda _: address, tls=tls, public_address=elsewhere)
    assert all(left > 0 for left in with_server(both, play))


def test_other_machines_need_tokens_and_certificates(
    monkeypatch: pytest.MonkeyPatch, tls: Tls
) -> None:
    monkeypatch.setenv("FUSION_TLS_CA", tls.ca)
    monkeypatch.setenv("FUSION_TLS_CERT", tls.certificate)
    monkeypatch.setenv("FUSION_TLS_KEY", tls.key)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(Refused, match="RAY_AUTH_MODE=token"):
        needed_beyond_this_machine()
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert needed_beyond_this_machine() == tls


def test_missing_certificates_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CA", "CERT", "KEY"):
        monkeypatch.delenv(f"FUSION_TLS_{name}", raising=False)
    with pytest.raises(Refused, match="FUSION_TLS_CA is not set"):
        from_environment()
    monkeypatch.setenv("FUSION_TLS_CA", str(tmp_path / "ca.pem"))
    with pytest.raises(Refused, match=r"FUSION_TLS_CA: there is no file .*ca.pem"):
        from_environment()
