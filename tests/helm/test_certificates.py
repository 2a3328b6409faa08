"""The certificates that the chart makes are such as the live network and its clients take."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from cluster.live.tls import COMMON_NAME, Tls
from tests.helm.chart import NAMESPACE, RELEASE, container, kinds, named, pod_templates, rendered


def written(folder: Path, release: str = RELEASE) -> Tls:
    """Lay the Secret's files where a container would find them."""
    data = named(rendered(release=release), "Secret", f"{release}-tls")["data"]
    for name, value in data.items():
        (folder / name).write_bytes(base64.b64decode(value))
    return Tls(*(str(folder / name) for name in ("ca.crt", "tls.crt", "tls.key")))


@pytest.fixture
def files(tmp_path: Path) -> Tls:
    return written(tmp_path)


@pytest.fixture
def port(files: Tls) -> Iterator[int]:
    """A server as the VRM's, behind mutual TLS."""
    server = grpc.server(ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_secure_port("127.0.0.1:0", files.server_credentials())
    server.start()
    yield port
    server.stop(None).wait()


def status(port: int, credentials: grpc.ChannelCredentials, name: str) -> int:
    options = [("grpc.ssl_target_name_override", name)]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        return int(stub.Check(request, timeout=10, wait_for_ready=False).status)


@pytest.mark.parametrize("name", [COMMON_NAME, f"{RELEASE}-vrm", f"{RELEASE}-vrm.{NAMESPACE}.svc"])
def test_both_sides_trust_them_under_the_names_in_use(port: int, files: Tls, name: str) -> None:
    serving = health_pb2.HealthCheckResponse.SERVING
    assert status(port, files.channel_credentials(), name) == serving


def test_a_stranger_is_turned_away(port: int, files: Tls, tmp_path: Path) -> None:
    with pytest.raises(grpc.RpcError):
        status(port, files.channel_credentials(), "somebody-else")
    folder = tmp_path / "other"
    folder.mkdir()
    other = written(folder, release="other")
    impostor = Tls(files.ca, other.certificate, other.key)
    with pytest.raises(grpc.RpcError):
        status(port, impostor.channel_credentials(), COMMON_NAME)


def test_secrets_that_are_given_are_used_and_none_is_made() -> None:
    values = {"tls": {"secretName": "ours"}, "ray": {"tokenSecretName": "token-of-ours"}}
    manifests = rendered(values)
    assert "Secret" not in kinds(manifests)
    for template in pod_templates(manifests).values():
        secrets = [one["secret"] for one in template["spec"]["volumes"] if "secret" in one]
        assert {one["secretName"] for one in secrets} == {"ours", "token-of-ours"}
    operated = rendered({**values, "monitoring": {"operator": True}})
    (endpoint,) = named(operated, "ServiceMonitor", RELEASE)["spec"]["endpoints"]
    assert endpoint["tlsConfig"]["ca"]["secret"]["name"] == "ours"


def test_every_party_finds_certificates_and_token_through_its_environment() -> None:
    for component, template in pod_templates(rendered()).items():
        for one in template["spec"]["containers"]:
            said = {variable["name"]: variable.get("value") for variable in one["env"]}
            assert said["RAY_AUTH_MODE"] == "token", (component, one["name"])
            assert said["FUSION_TLS_CA"] == "/etc/fusion/tls/ca.crt"
    ray = container(pod_templates(rendered())["worker"], "ray")
    mounted = {one["mountPath"] for one in ray["volumeMounts"]}
    assert mounted >= {"/etc/fusion/tls", "/etc/fusion/ray"}
