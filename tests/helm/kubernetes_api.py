"""As much of a Kubernetes API server as Helm asks while it renders: kinds, and a few objects."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.helm.chart import CHART, NAMESPACE, RELEASE, Manifest, Values, helm, objects

#: Everything that the chart renders in any cluster, by group and version.
BUILT_IN = {
    "v1": ["Secret", "ConfigMap", "Service", "ServiceAccount"],
    "apps/v1": ["Deployment", "StatefulSet"],
    "policy/v1": ["PodDisruptionBudget"],
    "networking.k8s.io/v1": ["NetworkPolicy"],
}
KUBERAY = {"ray.io/v1": ["RayCluster"]}
PROMETHEUS_OPERATOR = {"monitoring.coreos.com/v1": ["ServiceMonitor", "PrometheusRule"]}

_OPENAPI = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


@contextmanager
def api_server(
    operators: dict[str, list[str]] | None = None, held: Iterable[Manifest] = ()
) -> Iterator[str]:
    """Serve the built-in kinds, those of ``operators``, and the objects ``held``; yield the URL."""
    documents = _documents({**BUILT_IN, **(operators or {})}, held)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(documents))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def installed(url: str, values: Values | None = None) -> list[Manifest]:
    """Return what an installation into that cluster would send (a dry run asks the server)."""
    with helm.Config(kubeconfig_content=_kubeconfig(url), namespace=NAMESPACE) as config:
        chart = helm.Chart.load(CHART)
        release = config.install(chart, RELEASE, values, namespace=NAMESPACE, dry_run="server")
    return objects([str(release["manifest"])])


def _documents(kinds: dict[str, list[str]], held: Iterable[Manifest]) -> dict[str, Any]:
    documents: dict[str, Any] = {
        "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/openapi/v3": {"paths": {}},
    }
    groups = []
    for version, names in kinds.items():
        resources = [
            {"name": f"{name.lower()}s", "kind": name, "namespaced": True, "verbs": ["get"]}
            for name in names
        ]
        listing = {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        group, _, number = version.rpartition("/")
        documents[f"/apis/{version}" if group else "/api/v1"] = listing
        if group:
            served = {"groupVersion": version, "version": number}
            groups.append({"name": group, "versions": [served], "preferredVersion": served})
    documents["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    for one in held:
        assert one["apiVersion"] == "v1"
        folder = f"/api/v1/namespaces/{NAMESPACE}/{one['kind'].lower()}s"
        documents[f"{folder}/{one['metadata']['name']}"] = one
    return documents


def _handler(documents: dict[str, Any]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/openapi/v2":  # it says nothing of any kind, so all is well
                self._answer(200, _OPENAPI, b"")
            elif path in documents:
                self._answer(200, "application/json", json.dumps(documents[path]).encode())
            else:
                status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}
                body = json.dumps({**status, "reason": "NotFound"}).encode()
                self._answer(404, "application/json", body)

        def _answer(self, code: int, content_type: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler


def _kubeconfig(url: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "there", "cluster": {"server": url}}],
            "users": [{"name": "we", "user": {}}],
            "contexts": [{"name": "it", "context": {"cluster": "there", "user": "we"}}],
            "current-context": "it",
        }
    )
