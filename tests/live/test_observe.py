"""A datacenter that is watched: a fault raises alarms, and every panel has something to show."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.live.experiment_book import ExperimentBook
from cluster.live.processes import alive, identify
from cluster.live.raised_alerts import raised_alerts
from cluster.observe.dashboard import Dashboard, Variable
from cluster.observe.dashboards import ALL
from tests.live import planted_grafana
from tests.live.launched import (
    Launched,
    assert_nothing_is_left,
    brought_up,
    eventually,
    ports_of,
)
from tests.live.prometheus_api import PrometheusApi

pytestmark = [
    pytest.mark.live,
    pytest.mark.prometheus,
    pytest.mark.skipif(
        shutil.which("prometheus") is None,
        reason="no prometheus on this machine; Debian: apt-get install prometheus",
    ),
]

#: The guest of "big" takes half a minute to move: it is seen on its way.
DATACENTER = """\
datacenter: watched
heartbeat: {interval: 1s, misses: 3}
tick: 500ms
storage: {lease: 6s, renewal: 2s}
hosts:
  - {name: "cna-{:02d}", count: 3, rack: r1, cores: 8, mhz: 2600, memory: 32GiB, migration_network: 1Gbit/s}
vms:
  - {name: "web-{:02d}", count: 3, vcpus: 1, mhz: 2000, memory: 512MiB, boot: 1s, cpu: {limit: 1500MHz, reservation: 200MHz}}
  - {name: big, vcpus: 1, mhz: 2000, memory: 4GiB, memory_profile: database, boot: 1s}
clients:
  - {vms: all, every: 500ms, time_limit: 1s}
"""  # noqa: E501 - as people write it

PROCESSES = {"vrm", "san-1", "gateway", "launcher", "cna-01", "cna-02", "cna-03"}


@dataclass(frozen=True, slots=True)
class Story:
    """What befell the watched datacenter: a migration, then the death of a host, and its return."""

    up: Launched
    prometheus: PrometheusApi
    began_s: float
    lost: str
    #: States that the alarm of the lost host was in, in their order.
    alarm: tuple[str, ...]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    folder = tmp_path_factory.mktemp("watched")
    file = folder / "watched.yaml"
    file.write_text(DATACENTER, encoding="utf-8")
    grafana = folder / "bin" / "grafana"
    grafana.parent.mkdir()
    grafana.write_text(f"#!{sys.executable}\n{Path(planted_grafana.__file__).read_text()}")
    grafana.chmod(0o755)
    path = f"{grafana.parent}{os.pathsep}{os.environ['PATH']}"
    with brought_up(folder, str(file), "--observe", PATH=path) as launched:
        yield launched


@pytest.fixture(scope="module")
def story(up: Launched) -> Story:
    prometheus = PrometheusApi(up.state.observers["prometheus"])
    healthy = dict.fromkeys(PROCESSES, "up")
    eventually("all is scraped", lambda: prometheus.health() == healthy, every_s=0.5)
    began_s = time.time()
    host_of = {vm["name"]: vm["host"] for vm in up.told("vm", "list")["vms"]}
    others = sorted({"cna-01", "cna-02", "cna-03"} - {host_of["big"]})
    migrate(up, prometheus, "big", others[0])
    lost = next(host for name, host in host_of.items() if host != others[0] and name != "big")
    with ExperimentBook(Path(up.state.folder)).running("told-of"):
        alarm = lose_and_return(up, prometheus, lost)
    return Story(up, prometheus, began_s, lost, alarm)


def migrate(up: Launched, prometheus: PrometheusApi, vm: str, destination: str) -> None:
    """Move ``vm`` as slowly as it goes; Prometheus sees it on its way."""
    up.told("vm", "migrate", vm, "--to", destination, "--compression", "none", "--no-wait")
    eventually(
        "Prometheus sees pages go",
        lambda: prometheus.series("fusion_vrm_migration_rate_bytes_per_second > 0"),
        within_s=60.0,
        every_s=0.5,
    )
    eventually(
        "Prometheus sees that it has moved",
        lambda: prometheus.series(
            'fusion_migration_duration_seconds_count{outcome="moved"} > 0'
            ' and on (datacenter) fusion_vrm_migrations_total{outcome="moved"} > 0'
        ),
        within_s=120.0,
        every_s=0.5,
    )


def lose_and_return(up: Launched, prometheus: PrometheusApi, host: str) -> tuple[str, ...]:
    """Kill ``host``, switch it on again once its VMs run elsewhere; return the alarm's states."""
    seen: list[str] = []

    def is_now(state: str) -> bool:
        for each in prometheus.states_of("FusionHostDown", host=host) or {"quiet"}:
            if seen[-1:] != [each]:
                seen.append(each)
        return seen[-1] == state

    assert is_now("quiet")
    os.kill(up.pid_of(host), signal.SIGKILL)
    eventually("the alarm fires", lambda: is_now("firing"), within_s=90.0)
    eventually(
        "restarted VMs are told of",
        lambda: prometheus.states_of("FusionVmRestarted") == {"firing"},
        within_s=90.0,
    )
    up.told("host", "on", host)
    eventually("the alarm ends", lambda: is_now("quiet"), within_s=90.0)
    return tuple(seen)


def test_the_alarm_of_a_lost_host_is_pending_then_fires_and_is_resolved(story: Story) -> None:
    assert story.alarm == ("quiet", "pending", "firing", "quiet")
    over = {"start": story.began_s, "end": time.time(), "step": 5.0}
    firing = 'ALERTS{alertname="FusionHostDown", alertstate="firing"}'
    assert story.prometheus.numbers(f'{firing[:-1]}, host="{story.lost}"}}', **over) > 0
    assert story.prometheus.numbers(f'{firing[:-1]}, host!="{story.lost}"}}', **over) == 0


def test_reports_are_told_when_alarms_were_raised(story: Story) -> None:
    told = raised_alerts(story.prometheus.url, "watched", story.began_s, time.time())
    found = {(each.name, each.of): each for each in asyncio.run(told)}
    down = found["FusionHostDown", story.lost]
    assert down.firing_at is not None
    assert story.began_s < down.active_at < down.firing_at < time.time()
    assert down.severity == "critical"
    assert found["FusionExperimentRunning", "told-of"].firing_at is not None


def test_every_rule_is_evaluated_without_an_error(story: Story) -> None:
    groups = story.prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == 18
    assert {rule["name"]: rule["health"] for rule in rules if rule["health"] != "ok"} == {}


def chosen(story: Story, dashboard: Dashboard) -> dict[str, str]:
    """Return what the variables of ``dashboard`` stand for where all is chosen, as Grafana does:
    each is asked for with those before it in place.
    """
    values: dict[str, str] = {"datacenter": "watched"}
    for variable in dashboard.variables:
        found = labels(story, variable, values)
        assert found, variable.query
        values[variable.name] = "|".join(map(re.escape, found)) if variable.many else found[0]
    return values


def labels(story: Story, variable: Variable, values: dict[str, str]) -> list[str]:
    selector = filled(variable.selector, values)
    series = story.prometheus.ask(f"series?match[]={urllib.parse.quote(selector)}")
    return sorted({one[variable.label] for one in series})


def filled(expression: str, values: dict[str, str]) -> str:
    """Return ``expression`` with every variable replaced, as Grafana does before it asks."""

    def value(match: re.Match[str]) -> str:
        return values[match[1]].replace("\\", "\\\\")

    return re.sub(r"\$(\w+)", value, expression)


@pytest.mark.parametrize("dashboard", ALL, ids=lambda one: one.name)
def test_every_query_of_every_panel_has_something_to_show(
    story: Story, dashboard: Dashboard
) -> None:
    now_s = time.time()
    over = {"start": story.began_s, "end": now_s, "step": 5.0}
    times = {"__rate_interval": "20s", "__range": f"{now_s - story.began_s:.0f}s"}
    values = {**chosen(story, dashboard), **times}
    empty = [
        f"{panel.title}: {query.expression}"
        for panel in dashboard.panels()
        for query in panel.queries
        if not story.prometheus.numbers(
            filled(query.expression, values), **({} if panel.instant else over)
        )
    ]
    assert empty == []


@pytest.mark.parametrize("dashboard", ALL, ids=lambda one: one.name)
def test_faults_are_marked(story: Story, dashboard: Dashboard) -> None:
    over = {"start": story.began_s, "end": time.time(), "step": 5.0}
    values = {"datacenter": "watched"}
    marked = {
        each.name
        for each in dashboard.annotations
        if story.prometheus.numbers(filled(each.expression, values), **over)
    }
    befell = {"Experiment", "Host down", "VM restarted"}
    assert marked == {each.name for each in dashboard.annotations} & befell


def test_grafana_is_started_on_what_was_written(up: Launched) -> None:
    with urllib.request.urlopen(up.state.observers["grafana"], timeout=5) as answer:
        told: dict[str, Any] = json.load(answer)
    assert told["arguments"][:2] == ["server", "--homepath"]
    provisioning = Path(told["settings"]["GF_PATHS_PROVISIONING"])
    source = (provisioning / "datasources" / "fusion.yaml").read_text()
    assert up.state.observers["prometheus"] in source
    assert Path(told["settings"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).exists()


def test_both_listen_on_loopback_alone(up: Launched) -> None:
    observers = [one for one in up.state.processes if one.what in ("prometheus", "grafana")]
    assert len(observers) == 2
    listening = ports_of(observers)
    assert sorted(f"http://{each}" for each in listening) == sorted(up.state.observers.values())


def test_they_end_with_the_datacenter(up: Launched) -> None:
    last = up.state
    watchers = [identify(up.pid_of(name), name) for name in ("prometheus", "grafana")]
    assert up.stop(signal.SIGINT) == 0
    assert [one.what for one in watchers if alive(one)] == []
    assert_nothing_is_left(up, last)
