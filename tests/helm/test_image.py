"""The image's recipe agrees with the chart and with the repository; building it needs Docker."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch

from tests.helm.chart import ROOT, container, loaded, pod_templates, rendered

DOCKERFILE = (ROOT / "helm" / "Dockerfile").read_text(encoding="utf-8")


def copied() -> list[str]:
    """Return what is copied out of the repository."""
    lines = re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert "*" in rules
    assert set(copied()) == let_in
    for source in copied():
        assert (ROOT / source).exists(), source
        assert not any(fnmatch(source, rule) for rule in rules if rule.startswith("**"))


def test_it_runs_as_the_user_of_the_pods() -> None:
    (user,) = re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE)
    for template in pod_templates(rendered()).values():
        context = template["spec"]["securityContext"]
        assert user == f"{context['runAsUser']}:{context['runAsGroup']}"


def test_state_is_where_the_image_and_the_pods_put_it() -> None:
    (home,) = re.findall(r"FUSION_HOME=(\S+)", DOCKERFILE)
    launcher = container(pod_templates(rendered())["head"], "launcher")
    assert {"name": "FUSION_HOME", "value": home} in launcher["env"]
    assert home in {mount["mountPath"] for mount in launcher["volumeMounts"]}


def test_images_are_named_without_a_registry() -> None:
    bases = [line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("FROM")]
    assert bases == ["python:${PYTHON}-slim"] * 2
    assert "/" not in loaded().values["image"]["repository"]


def test_versions_agree_with_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert loaded().metadata["appVersion"] == project["version"]
    (python,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    least = project["requires-python"].removeprefix(">=")
    assert [int(part) for part in python.split(".")] >= [int(part) for part in least.split(".")]


def test_kuberay_is_told_the_version_of_ray_that_the_image_has() -> None:
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (ray,) = [line.removeprefix("ray==") for line in pinned if line.startswith("ray==")]
    (cluster,) = [
        one for one in rendered({"kuberay": {"enabled": True}}) if one["kind"] == "RayCluster"
    ]
    assert cluster["spec"]["rayVersion"] == ray
