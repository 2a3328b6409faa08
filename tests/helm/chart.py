"""The chart as Helm's own library renders it, and what is looked up in the result."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

helm = pytest.importorskip("helm_python", reason="needs PyPI's helm-python-sdk")

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "fusion"
RELEASE, NAMESPACE = "lab", "emulation"

Manifest = dict[str, Any]
Values = dict[str, Any]

CUSTOM_DATACENTER = {
    "datacenter": "custom",
    "first_port": 18000,
    "hosts": [{"name": "h-{}", "count": 2, "cores": 8, "mhz": 2600, "memory": 137438953472}],
    "vms": [{"name": "v-{}", "count": 3, "vcpus": 2, "mhz": 2000, "memory": "4GiB"}],
}

#: What somebody may plausibly set, each with a name.
VALUE_SETS: dict[str, Values] = {
    "default": {},
    "kuberay": {"kuberay": {"enabled": True}},
    "kuberay-and-prometheus-operator": {
        "kuberay": {"enabled": True},
        "monitoring": {"operator": True, "labels": {"release": "prometheus"}},
    },
    "no-kuberay": {"kuberay": {"enabled": False}},
    "prometheus-operator": {"monitoring": {"operator": True}},
    "no-monitoring": {"monitoring": {"enabled": False}},
    "secrets-given": {"tls": {"secretName": "ours"}, "ray": {"tokenSecretName": "token-of-ours"}},
    "custom-datacenter": {"datacenter": CUSTOM_DATACENTER},
    "datacenter-as-text": {"datacenter": yaml.safe_dump(CUSTOM_DATACENTER)},
    "resources": {
        "head": {"resources": {"requests": {"cpu": 2, "memory": "8Gi"}, "limits": {"cpu": "4"}}},
        "workers": {"replicas": 9, "resources": {"limits": {"memory": "16Gi"}}},
        "launcher": {"resources": {}},
    },
    "one-worker": {"workers": {"replicas": 1}},
    "placement": {
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "emulation", "operator": "Exists", "effect": "NoSchedule"}],
        "imagePullSecrets": [{"name": "pull"}],
    },
    "no-network-policy": {"networkPolicy": {"enabled": False}},
    "closed-network": {"networkPolicy": {"vrm": [], "metrics": []}},
    "no-disruption-budget": {"podDisruptionBudget": {"enabled": False}},
}


@functools.cache
def loaded() -> Any:
    return helm.Chart.load(CHART)


def rendered(values: Values | None = None, release: str = RELEASE) -> list[Manifest]:
    """Return every object of the release, for its caller to do with as it likes."""
    return copy.deepcopy(_manifests(json.dumps(values or {}), release))


@functools.cache
def _manifests(values: str, release: str) -> list[Manifest]:
    """Parse once for all tests: dashboards are long."""
    pages = _pages(values, release)
    return objects(page for name, page in pages.items() if not name.endswith("NOTES.txt"))


def objects(pages: Iterable[str]) -> list[Manifest]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where there is one
    return [one for page in pages for one in yaml.load_all(page, loader) if one]


def notes(values: Values | None = None) -> str:
    return _pages(json.dumps(values or {}), RELEASE)["fusion/templates/NOTES.txt"]


@functools.cache
def _pages(values: str, release: str) -> Mapping[str, str]:
    """Render once for all tests: making keys for certificates takes its time."""
    pages: Mapping[str, str] = loaded().render(
        json.loads(values), name=release, namespace=NAMESPACE
    )
    return pages


def kinds(manifests: list[Manifest]) -> set[str]:
    return {one["kind"] for one in manifests}


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return the one object of that kind and name."""
    (found,) = [one for one in manifests if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def pod_templates(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return the head's pod template and the worker's, whoever makes pods of them."""
    found = []
    for one in manifests:
        if one["kind"] in ("StatefulSet", "Deployment"):
            found.append(one["spec"]["template"])
        elif one["kind"] == "RayCluster":
            groups = [one["spec"]["headGroupSpec"], *one["spec"]["workerGroupSpecs"]]
            found += [group["template"] for group in groups]
    return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one for one in found}


def container(template: Manifest, name: str) -> Manifest:
    (found,) = [one for one in template["spec"]["containers"] if one["name"] == name]
    return dict(found)


def datacenter_text(manifests: list[Manifest]) -> str:
    return str(named(manifests, "ConfigMap", f"{RELEASE}-launch")["data"]["datacenter.yaml"])
