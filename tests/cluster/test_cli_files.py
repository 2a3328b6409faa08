"""``validate`` and ``traces``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.cli.main import run
from fusion.guest.trace import parse_trace

GOOD = """
datacenter: small
hosts:
  - {name: "h-{}", count: 2, sockets: 1, cores: 4, mhz: 2000, memory: 16GiB}
vms:
  - {name: "v-{}", count: 3, vcpus: 1, mhz: 1000, memory: 1GiB}
"""


def test_a_valid_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "dc.yaml"
    file.write_text(GOOD)
    assert run(["validate", str(file)]) == 0
    said = capsys.readouterr().out
    assert "small with 1 cluster, 2 hosts (8 GHz and 26 GiB for VMs) and 3 VMs" in said
    assert run(["validate", str(file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["valid"] is True
    assert (document["hosts"], document["vms"], document["cpu_capacity_mhz"]) == (2, 3, 8000.0)


def test_every_mistake_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "dc.yaml"
    file.write_text(GOOD.replace("16GiB", "lots").replace("count: 3", "cuont: 3"))
    assert run(["validate", str(file), "--json"]) == 2
    captured = capsys.readouterr()
    document: Any = json.loads(captured.out)
    mistakes = document["error"]["mistakes"]
    assert any(one.startswith("hosts[0].memory: 'lots' is not a size") for one in mistakes)
    assert any("cuont" in one for one in mistakes)
    assert captured.err.splitlines() == [f"error: {mistake}" for mistake in mistakes]


@pytest.mark.parametrize("source", ["demo", "thousand"])
def test_packaged_scenarios_are_valid(source: str) -> None:
    assert run(["validate", source]) == 0


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", str(tmp_path / "none.yaml")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_traces_are_of_the_format_and_of_the_seed(tmp_path: Path) -> None:
    for folder, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        path = str(tmp_path / folder)
        assert run(["traces", path, "--count", "3", "--samples", "10", "--seed", seed]) == 0
    files = sorted((tmp_path / "a").iterdir())
    assert [file.name for file in files] == ["vm-0001", "vm-0002", "vm-0003"]
    assert all(len(parse_trace(file.read_text(), file.name)) == 10 for file in files)
    first, again, other = ((tmp_path / name / "vm-0002").read_text() for name in "abc")
    assert first == again
    assert first != other


def test_traces_overwrite_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("precious")
    assert run(["traces", str(tmp_path), "--count", "1"]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
    assert run(["traces", str(tmp_path / "mine"), "--count", "1"]) == 2
    assert run(["traces", str(tmp_path / "mine" / "below"), "--count", "1"]) == 2
    assert "below: cannot be made: Not a directory" in capsys.readouterr().err
    assert run(["traces", str(tmp_path / "new"), "--count", "0"]) == 2
    assert not (tmp_path / "new").exists()


def test_more_traces_than_memory_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--count", "100000", "--samples", "1000000"]
    assert run(["traces", str(tmp_path / "new"), *given]) == 2
    assert "too much" in capsys.readouterr().err
