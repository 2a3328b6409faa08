"""What the chart renders is valid, complete in itself, and keeps to the house's security rules."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest

from tests.helm.chart import (
    CHART,
    RELEASE,
    VALUE_SETS,
    Manifest,
    Values,
    container,
    helm,
    kinds,
    loaded,
    named,
    notes,
    pod_templates,
    rendered,
)

kubernetes_validate = pytest.importorskip("kubernetes_validate")

EVERY_SET = pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS)
OLDEST, NEWEST = "1.25", kubernetes_validate.latest_version()
CUSTOM_KINDS = {"RayCluster", "ServiceMonitor", "PrometheusRule"}
#: What values may name without rendering it.
EXTERNAL_SECRETS = {"ours", "token-of-ours"}


@pytest.fixture(scope="module", autouse=True)
def schemas_are_read_once() -> Iterator[None]:
    """Every validation would read megabytes of definitions."""
    with pytest.MonkeyPatch.context() as patch:
        module = kubernetes_validate.utils
        patch.setattr(module, "schema_contents", functools.cache(module.schema_contents))
        yield


#: Sets that have every object of the chart between them, and values of every type.
LINTED = ("default", "kuberay-and-prometheus-operator", "datacenter-as-text")


def test_what_is_linted_has_every_object_of_the_chart() -> None:
    def objects_of(names: Iterable[str]) -> set[tuple[str, str]]:
        every = (one for name in names for one in rendered(VALUE_SETS[name]))
        return {(one["kind"], one["metadata"]["name"]) for one in every}

    assert objects_of(LINTED) == objects_of(VALUE_SETS)


@pytest.mark.parametrize("name", LINTED)
def test_lint_finds_nothing_to_complain_about(name: str) -> None:
    report = helm.lint(CHART, VALUE_SETS[name], strict=True, namespace="emulation")
    assert report["errors"] == []
    assert [one for one in report["messages"] if one["severity"] > 1] == []


@EVERY_SET
def test_objects_are_what_kubernetes_takes(values: Values) -> None:
    validate(rendered(values), NEWEST)


@pytest.mark.parametrize("name", ["default", "kuberay-and-prometheus-operator"])
def test_objects_are_what_the_oldest_kubernetes_takes_that_the_chart_allows(name: str) -> None:
    assert loaded().metadata["kubeVersion"] == f">={OLDEST}.0-0"
    validate(rendered(VALUE_SETS[name]), OLDEST)


def validate(manifests: list[Manifest], version: str) -> None:
    """Hold every built-in object to its schema, and pods of other ones as pod templates."""
    for one in manifests:
        if one["kind"] not in CUSTOM_KINDS:
            held_to_its_schema(json.dumps(one), version)
    templates = pod_templates(manifests)
    assert set(templates) == {"head", "worker"}
    for template in templates.values():
        wrapped = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}}
        held_to_its_schema(json.dumps({**wrapped, "template": template}), version)


@functools.cache
def held_to_its_schema(one: str, version: str) -> None:
    """Validate an object; most are the same whatever the values."""
    kubernetes_validate.validate(json.loads(one), version, strict=True)


def test_validation_can_fail() -> None:
    template = pod_templates(rendered())["head"]
    template["spec"]["containers"][0]["imagePolicy"] = "Never"
    wrapped = {"apiVersion": "v1", "kind": "PodTemplate", "template": template}
    with pytest.raises(kubernetes_validate.ValidationError, match="imagePolicy"):
        kubernetes_validate.validate(wrapped, NEWEST, strict=True)


@EVERY_SET
def test_what_pods_refer_to_is_there(values: Values) -> None:
    manifests = rendered(values)
    for template in pod_templates(manifests).values():
        spec = template["spec"]
        named(manifests, "ServiceAccount", spec["serviceAccountName"])
        files = {volume["name"]: files_of(volume, manifests) for volume in spec["volumes"]}
        used = set()
        for one in spec["containers"]:
            places = {mount["mountPath"]: files[mount["name"]] for mount in one["volumeMounts"]}
            used |= {mount["name"] for mount in one["volumeMounts"]}
            for path in paths_named_in(one):
                folder, name = str(PurePosixPath(path).parent), PurePosixPath(path).name
                if folder in places:
                    assert name in places[folder], f"{one['name']}: there is no {path}"
        assert used == set(files), "a volume that no container mounts"


def files_of(volume: Manifest, manifests: list[Manifest]) -> set[str]:
    """Return the names of the files in a volume."""
    if "configMap" in volume:
        return set(named(manifests, "ConfigMap", volume["configMap"]["name"])["data"])
    if "secret" in volume:
        name = volume["secret"]["secretName"]
        if name in EXTERNAL_SECRETS:
            return {"tls.crt", "tls.key", "ca.crt", "token"}
        return set(named(manifests, "Secret", name)["data"])
    assert "emptyDir" in volume
    return set()


def paths_named_in(one: Manifest) -> list[str]:
    words = [*one.get("command", []), *one.get("args", [])]
    words += [variable.get("value", "") for variable in one["env"]]
    return [word for word in words if word.startswith("/etc/fusion/")]


@EVERY_SET
def test_services_lead_to_ports_of_pods(values: Values) -> None:
    manifests = rendered(values)
    services = [one for one in manifests if one["kind"] == "Service"]
    assert services
    for service in services:
        (template,) = [
            one
            for one in pod_templates(manifests).values()
            if service["spec"]["selector"].items() <= one["metadata"]["labels"].items()
        ]
        open_ports = ports_of(template)
        for port in service["spec"]["ports"]:
            assert open_ports[port["targetPort"]] == port["port"]


def ports_of(template: Manifest) -> dict[str, int]:
    return {
        port["name"]: port["containerPort"]
        for one in template["spec"]["containers"]
        for port in one.get("ports", [])
    }


@EVERY_SET
def test_selectors_of_everything_else_find_pods(values: Values) -> None:
    manifests = rendered(values)
    labels = [one["metadata"]["labels"] for one in pod_templates(manifests).values()]
    for one in manifests:
        if one["kind"] in ("StatefulSet", "Deployment", "PodDisruptionBudget"):
            wanted = one["spec"]["selector"]["matchLabels"]
        elif one["kind"] == "NetworkPolicy":
            wanted = one["spec"]["podSelector"]["matchLabels"]
            rules = [rule for rule in one["spec"]["ingress"] if "ports" in rule]
            known = ports_of(pod_templates(manifests)["head"])
            assert {port["port"] for rule in rules for port in rule["ports"]} <= set(known)
        elif one["kind"] == "ServiceMonitor":
            wanted = one["spec"]["selector"]["matchLabels"]
            service = named(manifests, "Service", f"{RELEASE}-metrics")
            assert wanted.items() <= service["metadata"]["labels"].items()
            assert one["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
            continue
        else:
            continue
        assert any(wanted.items() <= each.items() for each in labels)


@EVERY_SET
def test_containers_are_locked_in(values: Values) -> None:
    """The 'restricted' level of the Pod Security Standards, and a root that is read only."""
    for template in pod_templates(rendered(values)).values():
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        for one in pod["containers"]:
            context = one["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}


@EVERY_SET
def test_probes_ask_for_ports_that_are_there(values: Values) -> None:
    for template in pod_templates(rendered(values)).values():
        open_ports = ports_of(template)
        for one in template["spec"]["containers"]:
            probes = [one[kind] for kind in one if kind.endswith("Probe")]
            assert probes, f"{one['name']} has no probe"
            for probe in probes:
                if "tcpSocket" in probe:
                    port = probe["tcpSocket"]["port"]
                    assert port in open_ports or port in open_ports.values()


def test_ray_is_started_alike_by_kuberay_and_without_it() -> None:
    plain, operated = rendered(), rendered(VALUE_SETS["kuberay"])
    assert kinds(plain) >= {"StatefulSet", "Deployment"}
    assert "RayCluster" not in kinds(plain)
    assert not kinds(operated) & {"StatefulSet", "Deployment"}
    cluster = named(operated, "RayCluster", RELEASE)["spec"]
    (workers,) = cluster["workerGroupSpecs"]
    groups = {"head": cluster["headGroupSpec"], "worker": workers}
    for component, group in groups.items():
        ray = container(pod_templates(plain)[component], "ray")
        said = dict(word[2:].split("=") for word in ray["args"] if "=" in word)
        said.pop("address", None)  # KubeRay knows the head's by itself
        assert said == group["rayStartParams"]
        assert "--block" in ray["args"]
        assert "command" not in container(group["template"], "ray")
        assert (
            group["template"]["spec"]["containers"][0]["name"] == "ray"
        )  # KubeRay takes the first
    assert workers["minReplicas"] == workers["replicas"] == workers["maxReplicas"] == 2


def test_ray_and_launcher_agree_on_the_head_and_on_how_many_nodes_there_are() -> None:
    manifests = rendered({"workers": {"replicas": 4}})
    templates = pod_templates(manifests)
    head = named(manifests, "Service", f"{RELEASE}-head")
    assert head["spec"]["publishNotReadyAddresses"] is True
    worker = container(templates["worker"], "ray")
    assert f"--address={RELEASE}-head:6379" in worker["args"]
    assert f"/dev/tcp/{RELEASE}-head/6379" in worker["command"][2]
    assert "--port=6379" in container(templates["head"], "ray")["args"]
    launcher = container(templates["head"], "launcher")
    assert launcher["args"][:2] == ["--nodes=5", "--ray-address=$(POD_IP):6379"]
    assert named(manifests, "Deployment", f"{RELEASE}-worker")["spec"]["replicas"] == 4


def test_launcher_and_ray_share_what_a_machine_shares() -> None:
    template = pod_templates(rendered())["head"]
    assert template["spec"]["shareProcessNamespace"] is True
    shared = [
        {mount["mountPath"]: mount["name"] for mount in container(template, name)["volumeMounts"]}
        for name in ("ray", "launcher")
    ]
    for path in ("/tmp", "/dev/shm", "/var/lib/fusion"):
        assert shared[0][path] == shared[1][path]
    assert container(template, "ray")["env"] == container(template, "launcher")["env"]


def test_metrics_are_scraped_with_certificates_where_an_operator_can_be_given_them() -> None:
    operated = rendered({"monitoring": {"operator": True, "labels": {"release": "prometheus"}}})
    monitor = named(operated, "ServiceMonitor", RELEASE)
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["scheme"], endpoint["honorLabels"]) == ("https", True)
    assert endpoint["tlsConfig"]["keySecret"] == {"name": f"{RELEASE}-tls", "key": "tls.key"}
    relay = container(pod_templates(operated)["head"], "metrics")
    assert "--plain" not in relay["args"]
    service = named(operated, "Service", f"{RELEASE}-metrics")
    assert "annotations" not in service["metadata"]


def test_metrics_are_found_by_annotations_otherwise() -> None:
    manifests = rendered()
    service = named(manifests, "Service", f"{RELEASE}-metrics")
    assert service["metadata"]["annotations"]["prometheus.io/port"] == "9464"
    relay = container(pod_templates(manifests)["head"], "metrics")
    assert "--plain" in relay["args"]
    assert "ServiceMonitor" not in kinds(manifests)


def test_without_monitoring_nothing_is_left_of_it() -> None:
    manifests = rendered({"monitoring": {"enabled": False}})
    text = json.dumps(manifests)
    assert "9464" not in text
    assert "metrics" not in text.replace("metrics_port", "")


def test_disruptions_leave_the_head_and_all_workers_but_one() -> None:
    def least(replicas: int) -> list[int]:
        manifests = rendered({"workers": {"replicas": replicas}})
        budgets = (f"{RELEASE}-{one}" for one in ("head", "worker"))
        return [
            named(manifests, "PodDisruptionBudget", name)["spec"]["minAvailable"]
            for name in budgets
        ]

    assert least(1) == [1, 0]
    assert least(3) == [1, 2]


def test_nobody_else_reaches_anything_where_no_peers_are_given() -> None:
    policy = named(rendered(VALUE_SETS["closed-network"]), "NetworkPolicy", RELEASE)
    (inside,) = policy["spec"]["ingress"]
    assert inside == {"from": [{"podSelector": policy["spec"]["podSelector"]}]}


@EVERY_SET
def test_the_notes_name_what_there_is(values: Values) -> None:
    text = notes(values)
    manifests: list[Any] = rendered(values)
    vrm = named(manifests, "Service", f"{RELEASE}-vrm")["spec"]["ports"][0]["port"]
    assert f"{RELEASE}-vrm.emulation.svc:{vrm}" in text
    assert ("KubeRay" in text.splitlines()[0]) and (
        ("by KubeRay" in text) == ("RayCluster" in kinds(manifests))
    )
    assert (f"{RELEASE}-metrics.emulation.svc" in text) == ("9464" in json.dumps(manifests))
