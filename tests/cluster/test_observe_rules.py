"""Alert and recording rules, as promtool reads them and as they fire."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.datacenter_file import load
from cluster.observe.alerts import alerts
from cluster.observe.prometheus import (
    ScrapeTls,
    alerts_yaml,
    prometheus_yml,
    recordings_yaml,
)
from cluster.observe.timing import Timing

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="no promtool on this machine; Debian: apt-get install prometheus",
)

LAB = "lab"
TIMING = Timing(heartbeat_s=1.0, misses=3, speed=1.0)
OF = 'datacenter="lab"'
HOST = f'{OF},cluster="production",rack="r1",host="cna-01"'
VM = f'{OF},vm="i-00000001",vm_name="web"'


def promtool(*words: str | Path) -> str:
    """Return what promtool finds fault with; nothing if it is content."""
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.fixture
def rules(tmp_path: Path) -> list[Path]:
    """Write the rules without their words, which promtool would compare too."""
    files = {"alerts.yaml": alerts_yaml, "recordings.yaml": recordings_yaml}
    for name, text in files.items():
        document = yaml.safe_load(text(LAB, TIMING))
        for rule in document["groups"][0]["rules"]:
            rule.pop("annotations", None)
        (tmp_path / name).write_text(yaml.safe_dump(document), encoding="utf-8")
    return [tmp_path / name for name in files]


def fires(rules: list[Path], series: dict[str, str], expected: dict[str, dict[str, Any]]) -> str:
    """Return promtool's complaint where, of ``series`` at an interval of 5 s, other alerts than
    ``expected`` (labels by ``minute name``) fire; nothing where they are as expected.
    """
    at: list[dict[str, Any]] = []
    for when, labels in expected.items():
        minute, name = when.split()
        alert = next(one for one in alerts(LAB, TIMING) if one.name == name)
        carried = {"severity": alert.severity.value, **labels}
        at.append(
            {
                "eval_time": minute,
                "alertname": name,
                "exp_alerts": [{"exp_labels": carried}] if labels else [],
            }
        )
    document = {
        "rule_files": [str(rule) for rule in rules],
        "evaluation_interval": "5s",
        "tests": [
            {
                "interval": "5s",
                "input_series": [{"series": s, "values": v} for s, v in series.items()],
                "alert_rule_test": at,
            }
        ],
    }
    file = rules[0].parent / "test.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return promtool("test", "rules", file)


NOBODY: dict[str, str] = {}


@needs_promtool
@pytest.mark.parametrize("scenario", ["demo", "thousand"])
def test_rules_of_packaged_scenarios_are_rules(scenario: str, tmp_path: Path) -> None:
    datacenter = load(scenario)
    for text in (alerts_yaml, recordings_yaml):
        file = tmp_path / "rules.yaml"
        file.write_text(text(datacenter.name, Timing.of(datacenter)), encoding="utf-8")
        assert promtool("check", "rules", file) == ""


@needs_promtool
def test_a_host_that_is_lost_is_down_until_it_is_back(rules: list[Path]) -> None:
    host = {"datacenter": LAB, "cluster": "production", "rack": "r1", "host": "cna-01"}
    series = {
        # Lost after 30 s, found dead 10 s later, back after two minutes.
        f'fusion_vrm_host_state{{{HOST},state="normal"}}': "1x5 stale _x17 1x20",
        f'fusion_vrm_host_state{{{HOST},state="disconnected"}}': "_x6 1 1 stale",
        f'fusion_vrm_host_state{{{HOST},state="faulty"}}': "_x8 1x15 stale",
    }
    name = "FusionHostDown"
    expected = {f"25s {name}": {}, f"30s {name}": {}, f"35s {name}": host, f"1m {name}": host}
    assert fires(rules, series, {**expected, f"2m {name}": {}}) == ""


@needs_promtool
def test_heartbeats_are_late_where_their_average_age_is(rules: list[Path]) -> None:
    labels = {"datacenter": LAB, "cluster": "production", "rack": "r1"}
    series = {f"fusion_vrm_clock_seconds{{{OF}}}": "0+5x60"}
    # On time; late by a second; silent, but known to be lost.
    for number, (heard, state) in enumerate(
        [("-0.9+5x60", "normal"), ("-2+5x60", "normal"), ("0+0x60", "faulty")], start=1
    ):
        of = f'{OF},cluster="production",rack="r1",host="cna-0{number}"'
        series[f"fusion_vrm_host_last_heartbeat_seconds{{{of}}}"] = heard
        series[f'fusion_vrm_host_state{{{of},state="{state}"}}'] = "1x60"
    assert fires(rules, series, {"3m FusionHeartbeatLate": {**labels, "host": "cna-02"}}) == ""


@needs_promtool
def test_a_restarted_vm_is_news_for_a_while(rules: list[Path]) -> None:
    series = {
        f"fusion_vrm_clock_seconds{{{OF}}}": "0+5x60",
        f'fusion_vrm_vm_restarted_seconds{{{VM},host="cna-02",cause="dead"}}': "_x9 _ 48x50",
    }
    name = "FusionVmRestarted"
    labels = {"datacenter": LAB, "vm": "i-00000001", "vm_name": "web", "host": "cna-02"}
    labels["cause"] = "dead"
    expected = {f"45s {name}": {}, f"50s {name}": labels, f"2m30s {name}": {}}
    assert fires(rules, series, expected) == ""


@needs_promtool
def test_the_vrm_is_down_while_it_answers_nobody_and_then_was_restarted(rules: list[Path]) -> None:
    series = {
        f"fusion_vrm_clock_seconds{{{OF}}}": "0+5x10 stale _x9 105+5x20",
        f"fusion_vrm_started_seconds{{{OF}}}": "0x10 stale _x9 102x20",
        f"fusion_vrm_generation{{{OF}}}": "1x10 stale _x9 2x20",
    }
    expected: dict[str, dict[str, Any]] = {
        "45s FusionVrmDown": {},
        "1m15s FusionVrmDown": {"datacenter": LAB},
        "1m55s FusionVrmDown": {},
        "45s FusionVrmRestarted": {},
        "1m55s FusionVrmRestarted": {"datacenter": LAB},
        "3m25s FusionVrmRestarted": {},
    }
    assert fires(rules, series, expected) == ""


@needs_promtool
def test_a_process_that_answers_no_scrape_is_named(rules: list[Path]) -> None:
    of = {"job": "fusion-lab", "role": "array", "process": "san-1", "instance": "127.0.0.1:1"}
    labels = ",".join(f'{name}="{value}"' for name, value in of.items())
    series = {f"up{{{labels}}}": "1x5 0x10", 'up{job="fusion-other"}': "0x20"}
    expected = {"20s FusionProcessDown": {}, "1m FusionProcessDown": of}
    assert fires(rules, series, expected) == ""


@needs_promtool
def test_a_migration_does_not_converge_where_its_guest_writes_as_fast(rules: list[Path]) -> None:
    def moving(vm: str, sent: str, written: str, round_: str) -> dict[str, str]:
        of = f'{OF},vm="{vm}",vm_name="{vm}",source="cna-01",destination="cna-02"'
        return {
            f"fusion_vrm_migration_rate_bytes_per_second{{{of}}}": sent,
            f"fusion_vrm_migration_dirty_bytes_per_second{{{of}}}": written,
            f"fusion_vrm_migration_round{{{of}}}": round_,
        }

    series = {
        **moving("hog", "100x20", "100x20", "1 2 3x18"),
        **moving("first-round", "100x20", "100x20", "1x20"),
        **moving("waiting", "0x20", "0x20", "5x20"),
        **moving("web", "100x20", "20x20", "5x20"),
    }
    labels = {"datacenter": LAB, "vm": "hog", "vm_name": "hog"}
    labels |= {"source": "cna-01", "destination": "cna-02"}
    name = "FusionMigrationNotConverging"
    assert fires(rules, series, {f"10s {name}": {}, f"15s {name}": labels}) == ""


@needs_promtool
def test_a_datastore_is_nearly_full_and_then_full(rules: list[Path]) -> None:
    labels = {"datacenter": LAB, "array": "san-1", "datastore": "ds"}
    of = ",".join(f'{name}="{value}"' for name, value in labels.items())
    series = {
        f"fusion_datastore_capacity_bytes{{{of}}}": "100x60",
        f"fusion_datastore_allocated_bytes{{{of}}}": "80x10 90x10 98x10",
    }
    nearly, full = "FusionDatastoreNearlyFull", "FusionDatastoreFull"
    expected: dict[str, dict[str, Any]] = {
        f"40s {nearly}": {},
        f"1m30s {nearly}": labels,
        f"1m30s {full}": {},
        f"2m20s {nearly}": {},
        f"2m20s {full}": labels,
    }
    assert fires(rules, series, expected) == ""


@needs_promtool
def test_an_experiment_is_told_of_while_it_runs(rules: list[Path]) -> None:
    series = {f'fusion_experiment_running{{{OF},experiment="calm"}}': "_ _ 1 1 stale"}
    name = "FusionExperimentRunning"
    told = {"datacenter": LAB, "experiment": "calm"}
    expected = {f"5s {name}": {}, f"10s {name}": told, f"20s {name}": {}}
    assert fires(rules, series, expected) == ""


@needs_promtool
def test_a_calm_datacenter_has_no_alert(rules: list[Path]) -> None:
    series = {
        f"fusion_vrm_clock_seconds{{{OF}}}": "0+5x60",
        f"fusion_vrm_generation{{{OF}}}": "1x60",
        f"fusion_vrm_started_seconds{{{OF}}}": "0x60",
        f'fusion_vrm_host_state{{{HOST},state="normal"}}': "1x60",
        f"fusion_vrm_host_last_heartbeat_seconds{{{HOST}}}": "0+5x60",
        'up{job="fusion-lab"}': "1x60",
    }
    quiet = {f"4m {alert.name}": NOBODY for alert in alerts(LAB, TIMING)}
    assert fires(rules, series, quiet) == ""


def test_waits_follow_the_heartbeat_and_the_speed_and_are_never_shorter_than_a_scrape() -> None:
    assert Timing(heartbeat_s=10.0, misses=4, speed=1.0).settled_wall_s == 40.0
    assert Timing(heartbeat_s=10.0, misses=4, speed=2.0).settled_wall_s == 20.0
    assert Timing(heartbeat_s=10.0, misses=4, speed=60.0).settled_wall_s == 5.0
    fast = Timing(heartbeat_s=60.0, misses=3, speed=60.0)
    assert fast.news_s == 3600.0
    assert Timing(heartbeat_s=10.0, misses=3, speed=1.0).news_s == 600.0


def test_rules_of_two_datacenters_stay_apart() -> None:
    for text in (alerts_yaml, recordings_yaml):
        for group in yaml.safe_load(text("other", TIMING))["groups"]:
            for rule in group["rules"]:
                assert '"other"' in rule["expr"] or "fusion-other" in rule["expr"]


@needs_promtool
def test_the_configuration_of_prometheus_is_complete(rules: list[Path]) -> None:
    folder = rules[0].parent / "all"
    (folder / "rules").mkdir(parents=True)
    for rule in rules:
        shutil.copy(rule, folder / "rules")
    file = folder / "prometheus.yml"
    file.write_text(prometheus_yml(LAB, "http://127.0.0.1:17001/discovery"), encoding="utf-8")
    assert promtool("check", "config", file) == ""
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    (job,) = document["scrape_configs"]
    assert job["job_name"] == "fusion-lab"
    assert job["http_sd_configs"] == [
        {"url": "http://127.0.0.1:17001/discovery", "refresh_interval": "5s"}
    ]


def test_beyond_this_machine_prometheus_shows_its_certificate() -> None:
    tls = ScrapeTls("/ca.pem", "/cert.pem", "/key.pem", "fusion")
    (job,) = yaml.safe_load(prometheus_yml(LAB, "http://h:1/discovery", tls))["scrape_configs"]
    assert job["tls_config"] == {
        "ca_file": "/ca.pem",
        "cert_file": "/cert.pem",
        "key_file": "/key.pem",
        "server_name": "fusion",
    }
