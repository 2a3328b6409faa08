import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.live import ports
from cluster.live.port_registry import PortRegistry
from fusion.errors import InvalidInput, Refused


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture(autouse=True)
def every_port_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "ephemeral_start", lambda: 65536)


def test_wanted_ports_are_consecutive() -> None:
    first = ports.choose(["probe"], None)["probe"]
    assert ports.choose(["a", "b"], first) == {"a": first, "b": first + 1}


def test_a_taken_port_is_named_with_its_purpose(busy: int) -> None:
    with pytest.raises(Refused, match=f"port {busy}, wanted for cna-01, is taken"):
        ports.choose(["vrm", "cna-01"], busy - 1)


def test_a_reserved_port_counts_as_taken() -> None:
    first = ports.choose(["probe"], None)["probe"]
    with pytest.raises(Refused, match=f"port {first}, wanted for vrm"):
        ports.choose(["vrm"], first, reserved=[first])
    assert ports.choose(["vrm"], None, reserved=[first])["vrm"] > first


def test_a_run_goes_around_a_taken_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: port != 17001)
    assert ports.choose(["a", "b", "c"], None) == {"a": 17002, "b": 17003, "c": 17004}


def test_ports_stay_below_the_ephemeral_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "ephemeral_start", lambda: 17004)
    monkeypatch.setattr(ports, "is_free", lambda port: True)
    assert ports.choose(["a", "b"], 17002) == {"a": 17002, "b": 17003}
    with pytest.raises(InvalidInput, match="the highest that would do is 17002"):
        ports.choose(["a", "b"], 17003)
    with pytest.raises(Refused, match="hosts_per_actor"):
        ports.choose(["a", "b", "c", "d", "e"], None)


def test_a_reservation_lasts_as_long_as_its_launcher(tmp_path: Path) -> None:
    here, another = PortRegistry(tmp_path), PortRegistry(tmp_path)
    here.reserve([17000, 17001])
    assert another.reserved() == [17000, 17001]
    here.release()
    assert another.reserved() == []


def test_the_reservation_of_a_killed_launcher_is_void(tmp_path: Path) -> None:
    reserve = (
        "import sys, time; from pathlib import Path;"
        "from cluster.live.port_registry import PortRegistry;"
        "PortRegistry(Path(sys.argv[1])).reserve([17000]); print('done', flush=True);"
        "time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", reserve, str(tmp_path)], stdout=subprocess.PIPE
    ) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"done\n"
        assert PortRegistry(tmp_path).reserved() == [17000]
        launcher.kill()
    assert PortRegistry(tmp_path).reserved() == []
    assert list(tmp_path.iterdir()) == []
