"""``fusion sim`` and ``fusion replay``: what they print, write and refuse, and how they end."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.cli import sim_many, sim_one
from cluster.simulated.campaign import Campaign
from cluster.simulated.run import Failure, Finding, RunOutcome, RunRequest, never
from tests.cluster.cli_said import Fusion

FILE = """
datacenter: small
seed: 11
clusters: [{name: c}]
hosts: [{name: "cna-{:02d}", count: 3, sockets: 1, cores: 4, mhz: 2000, memory: 16GiB}]
vms: [{name: "web-{:02d}", count: 4, vcpus: 1, mhz: 1000, memory: 1GiB, boot: 2s,
       workload: {kind: constant, percent: 30}}]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "my dc.yaml"  # a path that a shell would take apart
    path.write_text(FILE)
    return str(path)


def test_a_run_is_summed_up(file: str, fusion: Fusion) -> None:
    said = fusion("sim", file, "--for", "20s")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("seed 11: simulated 20s in ")
    assert "\ndigest " in said.out


def test_json_is_one_document(file: str, fusion: Fusion) -> None:
    said = fusion("sim", file, "--for", "20s", "--seed", "3", "--json")
    assert (said.code, said.err) == (0, "")
    assert (said.document["seed"], said.document["simulated_s"]) == (3, 20.0)
    assert said.document["violations"] == []


def test_the_log_has_every_event_and_keeps_out_of_the_document(file: str, fusion: Fusion) -> None:
    text = fusion("sim", file, "--for", "20s", "--log")
    lines = text.out.splitlines()
    assert any("host cna-01 made itself known" in line and " vrm " in line for line in lines)
    both = fusion("sim", file, "--for", "20s", "--log", "--json")
    assert both.document["seed"] == 11
    log = both.err.splitlines()
    assert lines[: len(log)] == log
    assert lines[len(log)].startswith("seed 11: ")  # the summary


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--for", "0s"), "--for: 0s is no time; write for example 10m or 24h"),
        (("--for", "soon"), "--for: 'soon' is not a duration"),
        ((), "Missing option '--for'"),
        (("--for", "1s", "--seeds", "5..1"), "--seeds: 5..1 ends before it begins; write 1..5"),
        (("--for", "1s", "--seeds", "1..x"), "--seeds: '1..x' is not a range"),
        (("--for", "1s", "--seeds", "7"), "--seeds: '7' is not a range"),
        (("--for", "1s", "--seeds", "1..2000000"), "--seeds: 1..2000000 is too much"),
        (("--for", "1s", "--seeds", "1..2", "--seed", "1"), "--seed and --seeds exclude"),
        (("--for", "1s", "--seeds", "1..2", "--log"), "--log: shows one run"),
        (("--for", "1s", "--seeds", "1..2", "--jobs", "0"), "'--jobs'"),
        (("--for", "1s", "--jobs", "2"), "--jobs: one run has one process"),
        (("--for", "1s", "--seed", "-1"), "'--seed'"),
        (("--for", "1s", "--faults", "some"), "--faults: 'some' is unknown; write random or none"),
        (("--for", "1s", "--orders", "0s"), "--orders: 0s is no time"),
        (("--for", "1s", "--policy", "no.py:Such"), "--policy: no file no.py"),
    ],
)
def test_bad_options_are_refused(
    file: str, fusion: Fusion, arguments: tuple[str, ...], sentence: str
) -> None:
    said = fusion("sim", file, *arguments)
    assert said.code == 2
    assert sentence in said.err
    assert said.err.startswith("error: ")


def test_a_bad_file_is_refused_with_all_its_mistakes(tmp_path: Path, fusion: Fusion) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(FILE.replace("16GiB", "lots").replace("percent: 30", "percent: 300"))
    said = fusion("sim", str(path), "--for", "1s")
    assert said.code == 2
    assert said.err.count("error: ") == 2


def test_faults_and_orders_can_be_drawn(file: str, fusion: Fusion) -> None:
    def digest(*options: str) -> object:
        said = fusion("sim", file, "--for", "5m", "--seed", "2", *options, "--json")
        assert said.code == 0, said.out
        return said.document["digest"]

    faults, orders = ("--faults", "random"), ("--orders", "5s")
    both = digest(*faults, *orders)
    assert digest(*faults, *orders) == both
    assert len({digest(), digest(*faults), digest(*orders), both}) == 4


def test_a_run_that_is_too_short_for_faults_or_orders_says_so(file: str, fusion: Fusion) -> None:
    said = fusion("sim", file, "--for", "20s", "--faults", "random", "--orders", "1s")
    assert said.code == 0
    assert "too short for faults, for the last 3m of a run are without" in said.err
    assert "too short for orders" in said.err


FOUND = Finding("4 (planted)", 12.5, ("cna-02", "i-00000003"), "VM is twice", ("1.0 vrm x",))


def outcome_of(request: RunRequest, **what: Any) -> RunOutcome:
    return RunOutcome(request.seed, "d1g357", 12.5, 0.5, 10, 9, **what)


def test_a_violation_is_told_with_its_replay(
    file: str, fusion: Fusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sim_one, "run", lambda request, **_: outcome_of(request, violations=(FOUND,))
    )
    said = fusion("sim", file, "--for", "10m", "--faults", "random", "--seed", "133")
    assert said.code == 1
    assert "violation of invariant 4 (planted) at 12.500 s: VM is twice" in said.out
    assert "last events of cna-02, i-00000003:" in said.out
    assert "1.0 vrm x" in said.out
    replay = said.out.splitlines()[-1].removeprefix("replay: ")
    assert shlex.split(replay) == [
        *("fusion", "sim", file, "--for", "10m", "--seed", "133", "--faults", "random", "--log")
    ]
    as_json = fusion("sim", file, "--for", "10m", "--seed", "133", "--json")
    assert as_json.code == 1
    assert as_json.document["violations"][0]["entities"] == ["cna-02", "i-00000003"]


def test_a_failed_run_is_a_finding(
    file: str, fusion: Fusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = Failure(12.5, "KeyError: 'x' (cluster/vrm/vrm.py:1 in run)", "Traceback …")
    monkeypatch.setattr(sim_one, "run", lambda request, **_: outcome_of(request, failure=failure))
    said = fusion("sim", file, "--for", "10m")
    assert said.code == 1
    assert "the run failed at 12.500 s: KeyError: 'x' (cluster/vrm/vrm.py:1 in run)" in said.out
    assert f"replay: fusion sim '{file}' --for 10m --seed 11 --log" in said.out


class HereCampaign(Campaign[RunRequest, RunOutcome]):
    """A campaign without processes of its own, for what does not depend on them."""

    def outcomes(self, interrupted: Callable[[], bool] = never) -> Iterator[RunOutcome]:
        for seed in self.seeds:
            yield self.work(self.request_of(seed))


def found_at_2(request: RunRequest) -> RunOutcome:
    return outcome_of(request, violations=(FOUND,) if request.seed == 2 else ())


def test_many_seeds_have_a_line_a_finding(
    file: str, fusion: Fusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sim_many, "Campaign", HereCampaign)
    monkeypatch.setattr(sim_many, "run", found_at_2)
    options = ("--for", "5s", "--seeds", "1..3")
    said = fusion("sim", file, *options)
    assert said.code == 1
    line, tally = said.out.splitlines()
    assert line == (
        "seed 2 violated invariant 4 (planted) at 12.500 s: VM is twice; "
        f"replay: fusion sim '{file}' --for 5s --seed 2 --log"
    )
    assert "1 with violations" in tally
    as_json = fusion("sim", file, *options, "--json")
    assert as_json.code == 1
    assert [run["seed"] for run in as_json.document["runs"]] == [1, 2, 3]
    assert (as_json.document["violations"], as_json.document["failed"]) == (1, 0)
    assert as_json.document["runs"][1]["replay"].endswith("--seed 2 --log")


def test_a_run_is_recorded_and_replayed(file: str, tmp_path: Path, fusion: Fusion) -> None:
    folder = str(tmp_path / "run")
    recorded = fusion("sim", file, "--for", "10s", "--out", folder, "--json")
    assert recorded.code == 0
    Path(file).unlink()
    said = fusion("replay", folder)
    assert said.code == 0
    assert said.out == f"seed 11: the same after 10.000 s\ndigest {recorded.document['digest']}\n"
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(recorded.document["digest"], "0" * 32))
    said = fusion("replay", folder, "--json")
    assert said.code == 1
    assert said.document["the_same"] is False
    assert said.document["expected_digest"] == "0" * 32
    assert said.document["digest"] == recorded.document["digest"]


def test_a_folder_in_use_is_refused_before_anything_runs(
    file: str, tmp_path: Path, fusion: Fusion
) -> None:
    said = fusion("sim", file, "--for", "10s", "--out", str(tmp_path))
    assert said.code == 2
    assert "not empty" in said.err
    assert fusion("replay", str(tmp_path)).code == 2


def test_many_seeds_are_tallied_and_recorded_in_a_folder_each(
    file: str, tmp_path: Path, fusion: Fusion
) -> None:
    folder = tmp_path / "runs"
    options = ("--for", "5s", "--seeds", "4..6", "--jobs", "2")
    said = fusion("sim", file, *options, "--out", str(folder))
    assert said.code == 0
    assert said.out.startswith("3 seeds in ")
    assert said.out.endswith("0 with violations, 0 failed\n")
    assert sorted(path.name for path in folder.iterdir()) == ["seed-4", "seed-5", "seed-6"]
    assert fusion("replay", str(folder / "seed-5")).code == 0


@pytest.mark.parametrize("many", [False, True])
def test_ctrl_c_ends_it_with_what_was_found_so_far(file: str, many: bool) -> None:
    options = ["--seeds", "1..100000"] if many else ["--log"]
    command = subprocess.Popen(
        [sys.executable, "-m", "cluster.cli.main", "sim", file, "--for", "30d", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert command.stdout is not None
        if not many:
            command.stdout.readline()  # it runs
        else:
            _until_workers(command.pid)
        os.killpg(command.pid, signal.SIGINT)  # as a terminal does: workers hear it, too
        out, err = command.communicate(timeout=60)
    finally:
        command.kill()
    assert command.returncode == 130
    assert "Traceback" not in err
    assert ("0 of 100,000 seeds" if many else "interrupted after") in out


def _until_workers(pid: int) -> None:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    deadline_s = time.monotonic() + 60.0
    while not any(
        _command_line(int(child)) == _command_line(pid)  # workers are copies of their campaign
        for child in children.read_text().split()
    ):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
