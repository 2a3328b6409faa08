"""Faults by hand: what is refused before anything is touched, and how that is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.cli.exits import ExitCode
from cluster.cli.main import run


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("earthquake cna-01", "FAULT: 'earthquake' is no fault; there are host_crash, host_hang"),
        ("slow_link cna-01", "slow_link: say how bad it is, for example --latency 20ms"),
        ("slow-link cna-01 --latency soon", "--latency: 'soon' is not a"),
        ("host_crash cna-01 --loss 0.5", "host_crash knows no --loss; leave it out"),
        ("partition cna-01 --plane astral", "--plane: 'astral' is no plane; there are management"),
        ("load_burst web-01", "load_burst: write --percent, for example --percent 50"),
        ("host_hang cna-01 --percent 5", "host_hang knows no --percent; leave it out"),
        (
            "load_burst web-01 --rate 1MB/s --percent 5",
            "load_burst knows no --rate; it takes --percent",
        ),
        ("host_crash cna-01 --peer vrm", "host_crash knows no --peer; leave it out"),
        ("bandwidth cna-01", "bandwidth: write --bandwidth, for example --bandwidth 10Mbit/s"),
        ("bandwidth cna-01 --bandwidth lots", "--bandwidth: 'lots' is not a link rate"),
        ("flapping cna-01 --down 2s", "flapping: write --up, for example --up 5s"),
        ("full_datastore ds-1 --percent 101", "--percent: 101 is more than all; write up to 100"),
        ("guest_memory_hog web-01", "guest_memory_hog: write --rate, for example --rate 500MiB/s"),
        ("host_crash cna-01 --for ages", "--for: 'ages' is not a"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["chaos", "inject", *words.split()]) == ExitCode.BAD_INPUT
    said = capsys.readouterr()
    assert f"error: {sentence}" in said.err
    assert said.out == ""


@pytest.mark.parametrize("words", ["inject host_crash cna-01", "heal", "status"])
def test_without_a_datacenter_the_way_out_is_told(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    assert run(["chaos", *words.split()]) != ExitCode.DONE
    assert "no datacenter is running; launch one with 'fusion up'" in capsys.readouterr().err
