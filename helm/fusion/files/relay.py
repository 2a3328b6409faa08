"""The metrics of every process of a datacenter, on one page for one scrape.

The VRM, the arrays, the gateway and the hosts beside them answer on the loopback of the head's pod
only, the hosts of other nodes on ports that no Service can list. This finds them all as Prometheus
would (the VRM's HTTP service discovery), scrapes them, and shows what they say with the labels
that Prometheus would have added (``job``, ``instance``, ``role``, ``process``), and ``up``.
"""

from __future__ import annotations

import argparse
import json
import re
import ssl
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import urlsplit

from cluster.live import tls
from cluster.live.tls import COMMON_NAME, Tls

TIMEOUT_S = 4.0  # less than any scraper's
AT_ONCE = 16
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


@dataclass(frozen=True, slots=True)
class Target:
    """A process to scrape, with the labels of all its samples."""

    url: str
    labels: str  # as they stand between braces


@dataclass(slots=True)
class Family:
    """Everything that is shown under one name: its comments once, then all samples."""

    comments: dict[str, str] = field(default_factory=dict)  # by kind: HELP, TYPE
    samples: list[str] = field(default_factory=list)


def targets_of(document: str, job: str) -> list[Target]:
    """Read what Prometheus' HTTP service discovery says."""
    found = []
    for group in json.loads(document):
        given = group["labels"]
        scheme = given.get("__scheme__", "http")
        path = given.get("__metrics_path__", "/metrics")
        kept = {name: value for name, value in given.items() if not name.startswith("__")}
        for address in group["targets"]:
            labels = {"job": job, "instance": address, **kept}
            text = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
            found.append(Target(f"{scheme}://{address}{path}", text))
    return found


def merged(pages: Iterable[tuple[Target, str | None]]) -> str:
    """Return one page of many; None is the page of a target that did not answer."""
    families = {"up": Family({"HELP": "HELP up Whether it answered.", "TYPE": "TYPE up gauge"})}
    for target, text in pages:
        families["up"].samples.append(f"up{{{target.labels}}} {int(text is not None)}")
        family = Family()
        for line in (text or "").splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                _, kind, name, *_ = line.split(" ", 3)
                family = families.setdefault(name, Family())
                family.comments.setdefault(kind, line[2:])
            elif line and not line.startswith("#"):
                family.samples.append(_labelled(line, target.labels))
    lines = []
    for family in families.values():
        lines += [f"# {comment}" for comment in family.comments.values()]
        lines += family.samples
    return "\n".join(lines) + "\n"


def _labelled(sample: str, labels: str) -> str:
    name = _NAME.match(sample)
    assert name, sample
    rest = sample[name.end() :]
    if rest.startswith("{"):
        return f"{name[0]}{{{labels},{rest[1:]}"
    return f"{name[0]}{{{labels}}}{rest}"


class Relay:
    """Scrapes all processes of one datacenter, whenever it is asked to."""

    def __init__(self, discovery_url: str, job: str, files: Tls) -> None:
        self._discovery = Target(discovery_url, "")
        self._job = job
        self._trust = ssl.create_default_context(cafile=files.ca)
        self._trust.load_cert_chain(files.certificate, files.key)
        self._known: list[Target] = []
        self._scrapers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="scraper")

    def page(self) -> str:
        """Return what all say now. While the VRM is away, its last word on who there is counts."""
        document = self._fetch(self._discovery)
        if document is not None:
            self._known = targets_of(document, self._job)
        known = self._known
        return merged(zip(known, self._scrapers.map(self._fetch, known), strict=True))

    def _fetch(self, target: Target) -> str | None:
        url = urlsplit(target.url)
        host, port = url.hostname or "", url.port
        secure = url.scheme == "https"
        connection = (
            _Secure(host, port, timeout=TIMEOUT_S, context=self._trust)
            if secure
            else HTTPConnection(host, port, timeout=TIMEOUT_S)
        )
        try:
            connection.request("GET", url.path)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, HTTPException, ValueError):
            return None
        finally:
            connection.close()
        return text if answer.status == 200 else None


class _Secure(HTTPSConnection):
    """Every certificate of a datacenter bears one name, whichever machine it is used on."""

    def __init__(self, host: str, port: int | None, *, timeout: float, context: ssl.SSLContext):
        super().__init__(host, port, timeout=timeout, context=context)
        self._trust = context

    def connect(self) -> None:
        HTTPConnection.connect(self)
        self.sock = self._trust.wrap_socket(self.sock, server_hostname=COMMON_NAME)


class Server(ThreadingHTTPServer):
    """Shows the page of ``relay``; without ``files`` in plain HTTP, otherwise by mutual TLS."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], relay: Relay, files: Tls | None) -> None:
        super().__init__(address, _handler(relay))
        if files is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.ca)
            context.load_cert_chain(files.certificate, files.key)
            context.verify_mode = ssl.CERT_REQUIRED
            # Hands are shaken in the request's own thread: a silent caller holds up nobody.
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # the inherited one asks the name service who we are


def _handler(relay: Relay) -> type[BaseHTTPRequestHandler]:
    one_at_a_time = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60.0

        def do_GET(self) -> None:
            found = self.path.partition("?")[0] == "/metrics"
            with one_at_a_time:
                body = (relay.page() if found else "look at /metrics\n").encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", CONTENT_TYPE if found else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return  # a line per scrape would bury the rest

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser(description="show the metrics of a whole datacenter")
    parser.add_argument("--discovery", required=True, help="the VRM's service discovery")
    parser.add_argument("--job", required=True, help="the label 'job' of all samples")
    parser.add_argument("--listen", required=True, help="host:port")
    parser.add_argument("--plain", action="store_true", help="no TLS for those who scrape")
    options = parser.parse_args()
    files = tls.from_environment()
    host, _, port = options.listen.rpartition(":")
    relay = Relay(options.discovery, options.job, files)
    Server((host, int(port)), relay, None if options.plain else files).serve_forever()


if __name__ == "__main__":
    main()
