"""Experiment files: what they may say, and every mistake with its place and a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.chaos.file import ExperimentFileError, experiments, load
from cluster.datacenter_file.mistakes import DatacenterFileError
from fusion.experiment.spec import Comparison, Condition, Selector, When
from fusion.faults.schedule import Cut, Direction, Impaired, Offset, Stolen

GOOD: dict[str, Any] = {
    "question": "What happens?",
    "scenario": "demo",
    "duration": "60s",
    "faults": [{"kind": "host_crash", "at": "5s", "lasts": "20s", "targets": {"rack": "r1"}}],
    "hypotheses": [{"that": "vms_running_share >= 95%"}],
}


def written(folder: Path, changes: dict[str, Any]) -> str:
    path = folder / "first.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}), encoding="utf-8")
    return str(path)


def a_fault(**changes: Any) -> dict[str, Any]:
    return {"kind": "host_crash", "at": "5s", "lasts": "20s", "targets": "cna-01", **changes}


def test_a_file_becomes_an_experiment(tmp_path: Path) -> None:
    link = {"planes": "storage", "direction": "out"}
    faults = [
        a_fault(name="plug", targets={"role": "host", "count": 2}),
        a_fault(kind="partition", targets="cna-08", peers=["san-*"], **link),
        a_fault(kind="slow_link", targets="cna-07", latency="200ms", loss="5%"),
    ]
    source = written(
        tmp_path,
        {
            "seed": 7,
            "faults": faults,
            "orders": [{"at": "10s", "migrate": {"names": ["web-*"], "share": "25%"}}],
            "hypotheses": [
                {"name": "slow", "that": "latency_p95_s of web-* <= 200ms", "when": "on-chaos"}
            ],
            "aborts": ["hosts_normal <= 3"],
        },
    )
    loaded = load(source)
    experiment = loaded.experiment
    assert (experiment.name, experiment.seed, loaded.datacenter.seed) == ("first", 7, 7)
    plug, cut, slow = experiment.faults
    assert (plug.name, plug.at_s, plug.lasts_s) == ("plug", 5.0, 20.0)
    assert plug.targets == Selector(role="host", count=2)
    assert cut.parameters == Cut(peers=(), direction=Direction.OUT, planes=("storage",))
    assert cut.peers == Selector(names=("san-*",))
    assert slow.parameters == Impaired(peers=(), latency_s=0.2, loss=0.05)
    assert experiment.orders[0].vms == Selector(names=("web-*",), share=0.25)
    (hypothesis,) = experiment.hypotheses
    assert hypothesis.when is When.ON_CHAOS
    assert hypothesis.condition == Condition("latency_p95_s", Comparison.AT_MOST, 0.2, "web-*")
    assert load(source, seed=9).experiment.seed == 9


def test_faults_of_hosts_become_what_they_do(tmp_path: Path) -> None:
    faults = [
        a_fault(kind="power_off"),
        {"kind": "reboot", "at": "5s", "targets": "cna-02"},
        a_fault(kind="slow_host", targets="cna-03", percent=40),
        a_fault(kind="clock_offset", targets="cna-03", offset="-1m30s"),
        a_fault(kind="clock_offset", targets="cna-03", offset="250ms"),
        a_fault(kind="node_loss", targets={"role": "host", "count": 1}),
    ]
    found = load(written(tmp_path, {"faults": faults})).experiment.faults
    assert [fault.parameters for fault in found] == [
        None,
        None,
        Stolen(percent=40.0),
        Offset(offset_s=-90.0),
        Offset(offset_s=0.25),
        None,
    ]


def test_clients_of_the_experiment_take_the_place_of_the_datacenters(tmp_path: Path) -> None:
    source = written(tmp_path, {"clients": [{"vms": ["batch-01"], "every": "5s"}]})
    (client,) = load(source).datacenter.clients
    assert (client.vm, client.every_s) == ("batch-01", 5.0)


def test_a_datacenter_file_is_looked_for_beside_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(
        "hosts: [{name: h1, sockets: 1, cores: 4, mhz: 2000, memory: 16GiB, rack: r1}]\n"
        "clusters: [{name: c}]\n"
    )
    changes = {"scenario": None, "datacenter": "small.yaml"}
    tree = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    path = tmp_path / "first.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    loaded = load(str(path))
    assert [host.name for host in loaded.datacenter.hosts] == ["h1"]
    assert set(loaded.experiment.sources) == {"first.yaml", "small.yaml"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"faults": [a_fault(kind="host_crush")]}, "faults[0].kind: 'host_crush' is no fault; did"),
        ({"faults": [a_fault(targets="cna-99")]}, "faults[0].targets: 'cna-99' is the name of no"),
        ({"faults": [a_fault(targets={"rack": "r9"})]}, "faults[0].targets: matches no host"),
        ({"faults": [a_fault(targets={})]}, "faults[0].targets: empty; write for example"),
        ({"faults": [a_fault(targets="web-01")]}, "faults[0].targets: 'web-01' is the name of no"),
        (
            {"faults": [a_fault(targets={"role": "vm"})]},
            "faults[0].targets.role: no vm can be struck by it; write host",
        ),
        (
            {"faults": [a_fault(targets={"role": "host", "count": 9})]},
            "faults[0].targets.count: 9 of 8; write at most 8",
        ),
        ({"faults": [a_fault(lasts="55s")]}, "faults[0].lasts: ends at 1m, not before the"),
        ({"faults": [a_fault(lasts="0s")]}, "faults[0].lasts: missing; write how long"),
        ({"faults": [a_fault(latency="1s")]}, "faults[0].latency: unknown key; possible for host"),
        ({"faults": [a_fault(peers="vrm")]}, "faults[0].peers: host_crash is no fault of links"),
        ({"faults": [a_fault(kind="slow_link")]}, "faults[0]: slow_link impairs nothing; write"),
        (
            {"faults": [a_fault(kind="slow_link", latency="fast")]},
            "faults[0].latency: 'fast' is not a duration",
        ),
        (
            {"faults": [a_fault(kind="load_burst", targets="web-01")]},
            "faults[0].percent: missing; load_burst needs it",
        ),
        (
            {"faults": [a_fault(kind="guest_crash", targets="web-01")]},
            "faults[0].lasts: guest_crash passes by itself; leave the key out",
        ),
        (
            {"faults": [a_fault(), a_fault(kind="host_hang", at="20s")]},
            "faults[1]: contradicts host_crash-1, for both strike cna-01 at one time; move one",
        ),
        (
            {
                "faults": [
                    a_fault(kind="partition", peers="vrm"),
                    a_fault(kind="slow_link", targets="vrm", peers=["cna-0*"], latency="1s"),
                ]
            },
            "faults[1]: contradicts partition-1, for both strike cna-01 and vrm at one time",
        ),
        (
            {"faults": [a_fault(kind="bandwidth")]},
            "faults[0].bandwidth: missing; bandwidth needs it",
        ),
        (
            {"faults": [a_fault(kind="bandwidth", bandwidth=0)]},
            "faults[0].bandwidth: bandwidth lets nothing through; write more, or partition",
        ),
        (
            {"faults": [a_fault(kind="bandwidth", bandwidth="1Gbit/s", planes="migration")]},
            "faults[0].planes: bandwidth narrows no migration, whose pages are counted and hardly",
        ),
        (
            {"faults": [a_fault(kind="flapping", down="2s", up="0s")]},
            "faults[0]: flapping never turns; write for example down: 2s, up: 5s",
        ),
        (
            {
                "faults": [
                    a_fault(kind="flapping", peers="vrm", down="2s", up="5s"),
                    a_fault(kind="bandwidth", peers="vrm", bandwidth="1Mbit/s"),
                ]
            },
            "faults[1]: contradicts flapping-1, for both strike cna-01 and vrm at one time",
        ),
        (
            {
                "faults": [
                    a_fault(kind="array_crash", targets={"role": "array"}),
                    a_fault(kind="array_hang", targets={"role": "array"}),
                ]
            },
            "faults[1]: contradicts array_crash-1, for both strike",
        ),
        (
            {
                "faults": [
                    a_fault(kind="array_hang", targets={"role": "array"}),
                    a_fault(kind="full_datastore", at="12s", targets={"role": "datastore"}),
                ]
            },
            "faults[1]: contradicts array_hang-1, for both strike ds-",
        ),
        (
            {"faults": [a_fault(kind="full_datastore", targets={"role": "array"})]},
            "faults[0].targets.role: no array can be struck by it; write datastore",
        ),
        (
            {
                "faults": [
                    a_fault(kind="full_datastore", targets={"role": "datastore"}, percent=120)
                ]
            },
            "faults[0].percent: full_datastore to 120 % cannot be; write more than 0, up to 100",
        ),
        (
            {"faults": [a_fault(kind="guest_memory_hog", targets="web-01", rate="fast")]},
            "faults[0].rate: 'fast' is no number of bytes a second; write for example 30MiB/s",
        ),
        (
            {"faults": [a_fault(kind="reboot")]},
            "faults[0].lasts: reboot passes by itself; leave the key out",
        ),
        (
            {"faults": [a_fault(kind="slow_host", percent=120)]},
            "faults[0].percent: slow_host takes processors of a host; write more than 0",
        ),
        (
            {"faults": [a_fault(kind="clock_offset", offset="soon")]},
            "faults[0].offset: 'soon' is not a duration",
        ),
        (
            {"faults": [a_fault(kind="clock_offset", offset="0s")]},
            "faults[0].offset: clock_offset sets no clock; write for example 30s, or -30s",
        ),
        *(
            (
                {"faults": [a_fault(kind=kind), a_fault(kind="slow_host", percent=5, at="20s")]},
                f"faults[1]: contradicts {kind}-1, for both strike cna-01 at one time; move one",
            )
            for kind in ("power_off", "node_loss", "host_crash")
        ),
        ({"faults": []}, "faults: nothing is done; write faults, orders, or random_faults: true"),
        ({"hypotheses": []}, "hypotheses: nothing is asked; write hypotheses or expectations"),
        (
            {"hypotheses": [{"that": "vms_runing >= 1"}]},
            "hypotheses[0].that: vms_runing is no figure; did you mean vms_running?",
        ),
        (
            {"hypotheses": [{"that": "rto_s <= 20s"}]},
            "hypotheses[0].that: rto_s is known at the end only; write it as an expectation",
        ),
        (
            {"hypotheses": [{"that": "hosts_normal of web-* >= 1"}]},
            "hypotheses[0].that: hosts_normal is not told for VMs apart; leave 'of web-*' out",
        ),
        (
            {"hypotheses": [{"that": "vms_running of mail-* >= 1"}]},
            "hypotheses[0].that: vms_running of mail-*: no VM of the datacenter is called so",
        ),
        (
            {"hypotheses": [{"that": "hosts_normal >= 1", "when": "sometimes"}]},
            "hypotheses[0].when: 'sometimes' is no mode; possible: start, end, edge,",
        ),
        (
            {"expectations": ["vms_running >= 1"]},
            "expectations[0]: vms_running is of an instant; write it as a hypothesis",
        ),
        (
            {"expectations": ["availability of batch-* >= 1"]},
            "expectations[0]: availability is seen by clients, and no VM of batch-* has any; add",
        ),
        (
            {"faults": [], "expectations": ["alarm_s <= 5s"]},
            "expectations[0]: alarm_s comes after a fault, and there is none; leave it out",
        ),
        (
            {"expectations": ["alarm_s of host.ded <= 5s"]},
            "expectations[0]: alarm_s of host.ded: no alarm is called so; did you mean host.dead?",
        ),
        (
            {"expectations": ["alarms of web-* == 0"]},
            "expectations[0]: alarms of web-*: no alarm is called so; there are: host.disc",
        ),
        (
            {"expectations": ["migrations_moved >= 1"]},
            "expectations[0]: migrations_moved comes of migrations, and nothing is migrated; add",
        ),
        (
            {
                "expectations": ["rto_s <= 20s"],
                "faults": [a_fault(kind="load_burst", targets="web-01", percent=50)],
            },
            "expectations[0]: rto_s comes of failovers, and no fault takes a host or its links",
        ),
        ({"expectations": ["rto_s <= soon"]}, "expectations[0]: 'soon' cannot bound rto_s; write"),
        ({"expectations": ["fast"]}, "expectations[0]: 'fast' is no condition; write a figure"),
        ({"look": "90s"}, "look: longer than the duration; write less"),
        ({"look": "1ms"}, "look: so often nothing is looked at for so long; write at least"),
        ({"scenario": "dmo"}, "scenario: 'dmo' is no packaged scenario; did you mean demo?"),
        ({"datacenter": "x.yaml"}, "scenario: given beside datacenter; write a packaged"),
        ({"orders": [{"at": "60s", "migrate": "web-01"}]}, "orders[0].at: behind the end; write"),
        ({"durations": "3s"}, "durations: unknown key; did you mean duration?"),
    ],
)
def test_mistakes_are_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DatacenterFileError) as refused:
        load(written(tmp_path, changes))
    assert any(mistake.startswith(sentence) for mistake in refused.value.mistakes), (
        refused.value.mistakes
    )


def test_faults_that_follow_each_other_or_strike_others_do_not_contradict(tmp_path: Path) -> None:
    faults = [
        a_fault(),
        a_fault(kind="host_hang", at="25s"),
        a_fault(kind="full_datastore", targets={"role": "datastore"}, at="2s", lasts="20s"),
        a_fault(kind="array_crash", targets={"role": "array"}, at="4s", lasts="5s"),
        a_fault(kind="host_hang", targets="cna-02"),
        a_fault(kind="host_hang", targets={"role": "host", "count": 1}, at="46s", lasts="5s"),
        a_fault(kind="partition", targets="cna-03", peers="vrm", planes="management"),
        a_fault(kind="lossy_link", targets="cna-03", peers="san-1", planes="storage", loss=0.5),
    ]
    assert len(load(written(tmp_path, {"faults": faults})).experiment.faults) == 8


@pytest.mark.parametrize("text", ["", "  \n", "- 3", "a: [", "question: 3"])
def test_what_is_no_experiment_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "first.yaml"
    path.write_text(text)
    with pytest.raises(DatacenterFileError):
        load(str(path))


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(ExperimentFileError, match=r"did you mean one-host-of-eight-dies\?"):
        load("one-host-of-eigth-dies")
    with pytest.raises(ExperimentFileError, match="cannot be read"):
        load("nowhere/x.yaml")


@pytest.mark.parametrize("name", experiments())
def test_packaged_experiments_ask_a_question_and_are_sound(name: str) -> None:
    experiment = load(name).experiment
    assert experiment.name == name
    assert experiment.question.endswith("?")
