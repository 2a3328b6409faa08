"""Values that make no sense are refused before anything is rendered, with the place named."""

from __future__ import annotations

import pytest

from tests.helm.chart import CHART, Values, helm, loaded, rendered

WRONG: dict[str, tuple[Values, str]] = {
    "a key nobody knows": ({"replicas": 3}, "replicas"),
    "a key nobody knows, deeper": ({"workers": {"count": 3}}, "workers"),
    "no worker": ({"workers": {"replicas": 0}}, "/workers/replicas"),
    "part of a worker": ({"workers": {"replicas": 1.5}}, "/workers/replicas"),
    "neither auto nor true nor false": ({"kuberay": {"enabled": "yes"}}, "/kuberay/enabled"),
    "operator": ({"monitoring": {"operator": "never"}}, "/monitoring/operator"),
    "interval": ({"monitoring": {"interval": "often"}}, "/monitoring/interval"),
    "an amount": ({"head": {"resources": {"limits": {"memory": "lots"}}}}, "/limits/memory"),
    "pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    "no image": ({"image": {"repository": ""}}, "/image/repository"),
    "a datacenter that is a list": ({"datacenter": []}, "/datacenter"),
    "a datacenter without hosts": ({"datacenter": {"vms": []}}, "/datacenter"),
    "a secret's name": ({"tls": {"secretName": "Not A Name"}}, "/tls/secretName"),
    "a peer": ({"networkPolicy": {"vrm": [{"pods": {}}]}}, "/networkPolicy/vrm/0"),
    "a dashboard without a label": (
        {"monitoring": {"dashboardLabels": {"grafana_dashboard": 1}}},
        "/monitoring/dashboardLabels/grafana_dashboard",
    ),
}


@pytest.mark.parametrize(("values", "place"), WRONG.values(), ids=WRONG)
def test_wrong_values_are_refused_with_their_place(values: Values, place: str) -> None:
    with pytest.raises(helm.HelmValuesError) as refusal:
        loaded().validate_schema(values)
    assert place in str(refusal.value).replace("'", "")
    report = helm.lint(CHART, values)
    assert any(place in one["error"].replace("'", "") for one in report["messages"])


def test_text_that_is_no_datacenter_file_is_refused() -> None:
    with pytest.raises(helm.HelmRenderError, match="datacenter: this is no YAML map"):
        rendered({"datacenter": "hosts: [\n"})
    with pytest.raises(helm.HelmRenderError, match="datacenter: it has no hosts"):
        rendered({"datacenter": "vms: []"})


def test_a_release_is_called_so_that_services_may_be() -> None:
    with pytest.raises(helm.HelmRenderError, match="has to begin with a letter"):
        rendered(release="7up")


def test_a_long_release_name_leaves_room_for_what_is_appended() -> None:
    manifests = rendered(release="a" * 53)
    assert max(len(one["metadata"]["name"]) for one in manifests) <= 63


def test_the_schema_knows_every_value_and_no_other() -> None:
    assert set(loaded().schema["properties"]) == {*loaded().values, "global"}


def test_every_value_is_explained() -> None:
    text = (CHART.parents[1] / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    table = text.partition("## Values")[2].partition("\n\nValues of")[0]
    for name, value in loaded().values.items():
        # Of an image, `tag` is no value to look up by its whole path.
        paths = [f"{name}.{key}" for key in value] if isinstance(value, dict) and value else []
        assert name in table
        assert name == "image" or all(path in table for path in paths), name
