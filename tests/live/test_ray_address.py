import socket
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import grpc
import pytest

from cluster.live import ray_address
from cluster.live.ray_address import RayAddress, probe, resolve
from fusion.errors import InvalidInput, Refused


@pytest.fixture(autouse=True)
def no_ray_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


def leave_address_file(tmp_path: Path, address: str) -> Path:
    file = tmp_path / "ray" / "ray_current_cluster"
    file.parent.mkdir()
    file.write_text(address)
    return file


def test_the_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(None) is None
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert resolve(None) == RayAddress("10.0.0.1:6379", "RAY_ADDRESS")
    assert resolve("10.0.0.2:6380") == RayAddress("10.0.0.2:6380", "--ray-address")
    assert resolve("local") is None


@pytest.mark.parametrize("wrong", ["ray://10.0.0.1:10001", "here", "10.0.0.1:", "10.0.0.1:99999"])
def test_what_is_no_address_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput, match="write host:port"):
        resolve(wrong)


def test_an_address_file_counts_only_where_it_is_asked_for(tmp_path: Path) -> None:
    leave_address_file(tmp_path, "127.0.0.1:1")
    assert resolve(None) is None


def test_auto_without_a_file_is_refused() -> None:
    with pytest.raises(Refused, match="no Ray cluster is known here"):
        resolve("auto")


def test_a_stale_address_file_is_named(tmp_path: Path) -> None:
    file = leave_address_file(tmp_path, "127.0.0.1:1")
    stale = resolve("auto")
    assert stale is not None
    with pytest.raises(Refused, match=f"127.0.0.1:1 .*{file}; that file is stale"):
        probe(stale)


def test_an_address_where_nothing_listens_is_refused() -> None:
    with pytest.raises(Refused, match=r"connection refused.*came from --ray-address"):
        probe(RayAddress("127.0.0.1:1", "--ray-address"))


def test_a_listener_that_is_no_ray_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_address, "PROBE_S", 0.2)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(Refused, match="no Ray"):
            probe(RayAddress(f"127.0.0.1:{server.getsockname()[1]}", "RAY_ADDRESS"))


def test_a_grpc_server_of_something_else_is_refused() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(Refused, match="no Ray"):
            probe(RayAddress(f"127.0.0.1:{port}", "--ray-address"))
    finally:
        server.stop(None).wait()


def test_a_web_server_is_refused() -> None:
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(Refused, match="no Ray"):
            probe(RayAddress(f"127.0.0.1:{server.server_port}", "--ray-address"))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
