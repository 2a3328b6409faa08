"""The datacenter file that the launcher gets: whole, valid, and on the ports of the Services."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.datacenter_file import load
from cluster.live import ports
from cluster.live.layout import lay_out
from fusion.spec import Datacenter
from tests.helm.chart import (
    CUSTOM_DATACENTER,
    RELEASE,
    ROOT,
    VALUE_SETS,
    Manifest,
    Values,
    container,
    datacenter_text,
    named,
    pod_templates,
    rendered,
)

SCENARIOS = sorted((ROOT / "cluster" / "scenarios").glob("*.yaml"))


def loaded_from(manifests: list[Manifest], folder: Path) -> Datacenter:
    file = folder / "datacenter.yaml"
    file.write_text(datacenter_text(manifests), encoding="utf-8")
    return load(str(file))


@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS)
def test_it_loads(values: Values, tmp_path: Path) -> None:
    datacenter = loaded_from(rendered(values), tmp_path)
    ours = "datacenter" in values
    assert datacenter.name == ("custom" if ours else RELEASE)
    assert len(datacenter.hosts) == (2 if ours else 8)


def test_text_and_map_come_to_the_same(tmp_path: Path) -> None:
    as_map = loaded_from(rendered(VALUE_SETS["custom-datacenter"]), tmp_path)
    as_text = loaded_from(rendered(VALUE_SETS["datacenter-as-text"]), tmp_path)
    assert as_map == as_text
    assert as_map.hosts[0].memory_bytes == 128 << 30


def test_a_map_replaces_the_default_as_a_whole(tmp_path: Path) -> None:
    manifests = rendered({"datacenter": {"hosts": CUSTOM_DATACENTER["hosts"]}})
    assert set(yaml.safe_load(datacenter_text(manifests))) == {"datacenter", "first_port", "hosts"}
    assert loaded_from(manifests, tmp_path).vms == ()


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_packaged_scenarios_survive_being_a_value(file: Path, tmp_path: Path) -> None:
    text = file.read_text(encoding="utf-8")
    rewritten = yaml.safe_load(datacenter_text(rendered({"datacenter": text})))
    assert rewritten.pop("first_port") == 17000
    assert rewritten == yaml.safe_load(text)


@pytest.mark.parametrize("values", [{}, VALUE_SETS["custom-datacenter"]], ids=["default", "own"])
def test_services_have_the_ports_that_the_launcher_will_deal_out(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = rendered(values)
    # A pod has all ports to itself.
    monkeypatch.setattr(ports, "is_free", functools.partial(lambda *_: True))
    layout = lay_out(loaded_from(manifests, tmp_path))
    service = named(manifests, "Service", f"{RELEASE}-vrm")
    assert service["spec"]["ports"][0]["port"] == layout.vrm.port
    relay = container(pod_templates(manifests)["head"], "metrics")
    assert f"--discovery=http://127.0.0.1:{layout.vrm.metrics_port}/discovery" in relay["args"]
    assert max(layout.ports) < ports.ephemeral_start()
    ray = container(pod_templates(manifests)["head"], "ray")
    highest = next(word for word in ray["args"] if word.startswith("--max-worker-port="))
    assert int(highest.partition("=")[2]) < min(layout.ports)


def test_the_parts_call_the_datacenter_by_its_name() -> None:
    for values, name in (({}, RELEASE), (VALUE_SETS["custom-datacenter"], "custom")):
        head = pod_templates(rendered(values))["head"]
        probe = container(head, "launcher")["readinessProbe"]["exec"]["command"]
        assert probe == ["fusion", "status", "--datacenter", name, "--json"]
        assert f"--job=fusion-{name}" in container(head, "metrics")["args"]


def test_another_datacenter_makes_other_pods() -> None:
    def checksums(values: Values) -> list[str]:
        templates = pod_templates(rendered(values)).values()
        return [one["metadata"]["annotations"]["checksum/datacenter"] for one in templates]

    default, again, other = (
        checksums({}),
        checksums({"workers": {"replicas": 3}}),
        checksums(VALUE_SETS["custom-datacenter"]),
    )
    assert default == again
    assert not set(default) & set(other)
