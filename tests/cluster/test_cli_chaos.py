"""``fusion chaos``: what it shows, carries out, compares and draws, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from cluster.chaos.file import Loaded, experiments
from cluster.chaos.seeds import SeedOutcome
from cluster.cli import chaos_many
from fusion.experiment.evidence import Judgement, Verdict
from tests.cluster.cli_said import Fusion

DATACENTER = """
datacenter: small
clusters: [{name: c}]
hosts: [{name: "cna-{:02d}", count: 3, sockets: 1, cores: 4, mhz: 2000, memory: 16GiB}]
vms: [{name: "web-{:02d}", count: 4, vcpus: 1, mhz: 1000, memory: 1GiB, boot: 2s,
       workload: {kind: constant, percent: 30}}]
"""

EXPERIMENT: dict[str, Any] = {
    "question": "Do web servers come back when a host dies?",
    "datacenter": "small.yaml",
    "settle": "2s",
    "duration": "40s",
    "clients": [{"vms": ["web-01", "web-02"], "every": "1s"}],
    "faults": [
        {"name": "plug", "kind": "host_crash", "at": "5s", "lasts": "10s",
         "targets": {"role": "host", "count": 1}}
    ],
    "hypotheses": [{"name": "all run", "that": "vms_running_share >= 100%"}],
    "expectations": ["lost_durable_entries == 0"],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "small.yaml").write_text(DATACENTER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, name: str = "plug", **changes: Any) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, **changes}), encoding="utf-8")
    return str(path)


def test_the_list_has_every_question(fusion: Fusion) -> None:
    lines = fusion("chaos", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == experiments()
    assert all(line.endswith("?") for line in lines)
    found = fusion("chaos", "list", "--json").document["experiments"]
    assert [each["name"] for each in found] == experiments()


def test_a_dry_run_shows_whom_it_would_strike_and_touches_nothing(
    fusion: Fusion, folder: Path
) -> None:
    source = written(folder)
    said = fusion("chaos", "run", source, "--dry-run")
    assert said.code == 0
    assert "at 5s for 10s: host_crash of 1 of cna-01, cna-02, cna-03" in said.out
    assert "blast radius:\n  3 hosts: cna-01, cna-02, cna-03\n" in said.out
    assert "  and what runs on those hosts by then, of 4 VMs\nnothing was started" in said.out
    document = fusion("chaos", "run", source, "--dry-run", "--json").document
    assert document["blast_radius"] == ["cna-01", "cna-02", "cna-03"]
    assert document["may_be_carried"] == ["web-01", "web-02", "web-03", "web-04"]
    assert document["faults"][0]["count"] == 1


def test_a_run_is_judged_told_and_written_down(fusion: Fusion, folder: Path) -> None:
    report, junit = folder / "report", folder / "junit.xml"
    source = written(folder)
    said = fusion(
        "chaos", "run", source, "--seed", "3", "--report", str(report), "--junit", str(junit)
    )
    assert said.code == 0, said.out
    assert "pass: All 2 hypotheses and expectations held." in said.out
    assert f"repeat: fusion chaos run {source} --world simulated --seed 3" in said.out
    assert "<svg" in (report / "report.html").read_text()
    assert json.loads((report / "report.json").read_text())["seed"] == 3
    (suite,) = ElementTree.parse(junit).getroot()
    assert (suite.attrib["failures"], suite.attrib["errors"]) == ("0", "0")


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"hypotheses": [{"that": "hosts_normal >= 3", "when": "continuous"}]}, 1, "fail"),
        ({"hypotheses": [{"that": "hosts_normal >= 4"}]}, 3, "inconclusive"),
        ({"aborts": ["hosts_normal <= 2"]}, 4, "aborted"),
    ],
)
def test_exit_codes_tell_the_verdict(
    fusion: Fusion, folder: Path, changes: dict[str, Any], code: int, word: str
) -> None:
    said = fusion("chaos", "run", written(folder, **changes))
    assert (said.code, said.out.splitlines()[1].split(":")[0]) == (code, word)


def test_json_is_one_document(fusion: Fusion, folder: Path) -> None:
    document = fusion("chaos", "run", written(folder), "--json").document
    assert document["verdict"] == "pass"


def test_many_seeds_are_distributions(fusion: Fusion, folder: Path) -> None:
    report, junit = folder / "report", folder / "junit.xml"
    arguments = ("--seeds", "1..3", "--jobs", "2")
    outputs = ("--report", str(report), "--junit", str(junit))
    said = fusion("chaos", "run", written(folder), *arguments, *outputs)
    assert said.code == 0, said.out
    assert "3 seeds in " in said.out
    assert "3 pass" in said.out
    assert "rto_s " in said.out
    assert "longest_gap_s of web-*" in said.out
    assert (report / "report.html").exists()
    assert len(ElementTree.parse(junit).getroot()) == 3


def test_the_worst_seed_decides(fusion: Fusion, folder: Path) -> None:
    never = written(folder, hypotheses=[{"that": "hosts_normal >= 3", "when": "continuous"}])
    said = fusion("chaos", "run", never, "--seeds", "1..2", "--jobs", "1")
    assert said.code == 1
    assert "seed 2 fail:" in said.out


def test_ctrl_c_tells_what_there_is_so_far(
    fusion: Fusion, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(loaded: Loaded, seeds: Sequence[int], *_: object) -> Iterator[SeedOutcome]:
        yield SeedOutcome(seeds[0], Verdict(Judgement.PASS, "All held.", ()), {"rto_s": 9.0}, "")

    monkeypatch.setattr(chaos_many, "under_seeds", interrupted)
    said = fusion("chaos", "run", written(folder), "--seeds", "1..5")
    assert said.code == 130
    assert "1 pass" in said.out
    assert "rto_s" in said.out


def test_experiments_are_compared_seed_by_seed(fusion: Fusion, folder: Path) -> None:
    both = {**EXPERIMENT["faults"][0], "targets": {"role": "host", "count": 2}}
    one, two = written(folder, "one"), written(folder, "two", faults=[both])
    said = fusion("chaos", "compare", one, two, "--seeds", "1..3", "--jobs", "1", "--json")
    assert said.code == 0, said.out
    assert [each["name"] for each in said.document["trials"]] == ["one", "two"]
    (found,) = (each for each in said.document["differences"] if each["key"] == "errors")
    assert found["seeds"] == [1, 2, 3]
    assert (found["base"], found["other"]) == ("one", "two")
    text = fusion("chaos", "compare", one, two, "--seeds", "1..2", "--jobs", "1")
    assert "two less one, seed by seed:" in text.out


def test_what_is_drawn_at_random_can_be_run_again(fusion: Fusion, folder: Path) -> None:
    drawn = ("chaos", "random", "small.yaml", "--for", "60s", "--every", "8s", "--seed", "4")
    said = fusion(*drawn, "--json")
    assert said.code == 0, said.out + said.err
    assert "random-4.yaml" in said.err
    again = fusion("chaos", "run", str(folder / "random-4.yaml"), "--json")
    assert again.document["digest"] == said.document["digest"]
    kinds = {fault["kind"] for fault in said.document["run"]["faults"]}
    assert len(kinds) > 1
    refused = fusion(*drawn)
    assert (refused.code, refused.out) == (2, "")
    assert "random-4.yaml: is there already, and nothing is overwritten" in refused.err


@pytest.mark.parametrize("seed", range(10))
def test_what_is_drawn_is_always_valid(fusion: Fusion, folder: Path, seed: int) -> None:
    arguments = ("--for", "10m", "--every", "5s", "--seed", str(seed), "--dry-run")
    said = fusion("chaos", "random", "small.yaml", *arguments)
    assert said.code == 0, said.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "nothing-dies"], "'nothing-dies' is neither a file nor a packaged experiment"),
        (["run", "a-noisy-neighbour", "--seeds", "5..1"], "--seeds: 5..1 ends before it begins"),
        (["run", "a-noisy-neighbour", "--seeds", "1..2", "--seed", "1"], "exclude each other"),
        (["run", "a-noisy-neighbour", "--seeds", "1..2", "--world", "live"], "exclude each other"),
        (["run", "a-noisy-neighbour", "--netns"], "no namespaces but in --world live"),
        (["run", "a-noisy-neighbour", "--jobs", "2"], "--jobs: one run has one process"),
        (["compare", "a-noisy-neighbour"], "compare: there is nothing to compare with"),
        (["random", "--for", "10s", "--every", "30s"], "--every: not within --for"),
        (["random", "--for", "1m", "--every", "9s", "--netns"], "but in --world live"),
    ],
)
def test_bad_input_is_refused(
    fusion: Fusion, folder: Path, arguments: list[str], sentence: str
) -> None:
    said = fusion("chaos", *arguments)
    assert (said.code, said.out) == (2, "")
    assert sentence in said.err
    assert sorted(path.name for path in folder.iterdir()) == ["small.yaml"]
