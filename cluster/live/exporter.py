"""Metrics over HTTP, and at the VRM where they all are (Prometheus HTTP service discovery)."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.registry import Collector

from cluster.live.tls import Tls
from cluster.metrics import exposition
from fusion.errors import FusionError

_IDLE_S = 60.0  # a connection kept alive without a request for so long is closed


class Exporter:
    """Answers ``/metrics``, and ``/discovery`` where there is something to discover."""

    def __init__(
        self,
        address: str,
        collectors: Iterable[Collector],
        discovery: Callable[[], str] | None = None,
        tls: Tls | None = None,
    ) -> None:
        """Listen on ``address``. Raises ``FusionError`` where it is taken.

        Collectors and ``discovery`` are called from threads of the exporter.
        """
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        for collector in collectors:
            registry.register(collector)
        host, _, port = address.rpartition(":")
        handler = _handler(registry, discovery)
        try:
            self._server = _Server((host, int(port)), handler)
        except OSError as error:
            raise FusionError(
                f"metrics cannot be served on {address}: {error.strerror}; stop what uses the "
                "port, or choose others with 'first_port' in the datacenter file"
            ) from error
        if tls is not None and host != "127.0.0.1":
            # Hands are shaken in the request's own thread: a silent caller holds up nobody.
            self._server.socket = _context(tls).wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    allow_reuse_port = False

    def server_bind(self) -> None:
        # The inherited one asks the name service who we are, which can take seconds.
        TCPServer.server_bind(self)


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.ca)
    context.load_cert_chain(tls.certificate, tls.key)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _handler(
    registry: CollectorRegistry, discovery: Callable[[], str] | None
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _IDLE_S

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, exposition.CONTENT_TYPE, exposition.page(registry))
            elif path == "/discovery" and discovery is not None:
                self._answer(200, "application/json", discovery().encode())
            else:
                where = "/metrics" if discovery is None else "/metrics and /discovery"
                self._answer(404, "text/plain", f"look at {where}\n".encode())

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return  # a line per scrape would bury the rest

    return Handler
