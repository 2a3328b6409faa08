"""What the chart makes of the cluster that it is installed into: operators, and Secrets it has."""

from __future__ import annotations

from tests.helm.chart import NAMESPACE, RELEASE, Values, kinds, named, rendered
from tests.helm.kubernetes_api import KUBERAY, PROMETHEUS_OPERATOR, api_server, installed

OWNER = {"name": RELEASE, "namespace": NAMESPACE}


def kinds_in(operators: dict[str, list[str]], values: Values | None = None) -> set[str]:
    with api_server(operators) as url:
        return kinds(installed(url, values))


def test_operators_are_used_where_they_are() -> None:
    bare, full = kinds_in({}), kinds_in({**KUBERAY, **PROMETHEUS_OPERATOR})
    assert bare >= {"StatefulSet", "Deployment"}
    assert not bare & {"RayCluster", "ServiceMonitor"}
    assert full >= {"RayCluster", "ServiceMonitor"}
    assert not full & {"StatefulSet", "Deployment"}


def test_an_operator_that_is_there_may_be_left_unused() -> None:
    values = {"kuberay": {"enabled": False}, "monitoring": {"operator": False}}
    found = kinds_in({**KUBERAY, **PROMETHEUS_OPERATOR}, values)
    assert not found & {"RayCluster", "ServiceMonitor"}


def test_keys_and_token_are_kept_once_they_are_made() -> None:
    first = rendered()
    secrets = [named(first, "Secret", f"{RELEASE}-{one}") for one in ("tls", "ray-token")]
    ownership = {f"meta.helm.sh/release-{key}": v for key, v in OWNER.items()}
    for secret in secrets:  # as Helm marks what it has installed
        secret["metadata"]["annotations"] = ownership
    with api_server(held=secrets) as url:
        later = installed(url)
    for secret in secrets:
        assert named(later, "Secret", secret["metadata"]["name"])["data"] == secret["data"]
    with api_server() as url:
        fresh = installed(url)
    for secret in secrets:
        assert named(fresh, "Secret", secret["metadata"]["name"])["data"] != secret["data"]


def test_everything_is_in_the_namespace_of_the_release() -> None:
    assert {one["metadata"]["namespace"] for one in rendered()} == {NAMESPACE}
