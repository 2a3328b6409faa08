"""One page with the metrics of all processes: as Prometheus would have scraped each of them."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client import Counter, Gauge
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from cluster.live.exporter import Exporter
from cluster.live.tls import COMMON_NAME, Tls
from cluster.metrics.discovery import Target, discovery
from tests.helm.scripts import program
from tests.helm.test_certificates import written

relay: Any = program("relay")


def exporter(value: float, targets: list[Target] | None = None, **settings: Any) -> Exporter:
    """A process of a datacenter as the live world serves it; ``targets``: it is the VRM."""
    registry = CollectorRegistry()
    Gauge("fusion_load", 'Load, in "parts" {of} one.', ["host"], registry=registry).labels(
        'c"n{a'
    ).set(value)
    Counter("fusion_ticks", "Ticks.", registry=registry).inc(value)
    found = None if targets is None else lambda: json.dumps(discovery(targets))
    return Exporter(settings.pop("address", "127.0.0.1:0"), [registry], found, **settings)


def address(one: Exporter) -> str:
    host, port = one._server.server_address[:2]
    return f"{host!s}:{port}"


@contextmanager
def stopped_afterwards(*exporters: Exporter) -> Iterator[None]:
    with ExitStack() as stack:
        for one in exporters:
            stack.callback(one.stop)
        yield


@contextmanager
def served(one: Any, files: Tls | None) -> Iterator[int]:
    server = relay.Server(("127.0.0.1", 0), one, files)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return written(tmp_path_factory.mktemp("tls"))


def samples(page: str, name: str) -> dict[str, float]:
    """Return the values under ``name`` by process."""
    families = {one.name: one for one in text_string_to_metric_families(page)}
    return {one.labels["process"]: one.value for one in families[name].samples}


def test_all_processes_are_on_one_page_with_the_labels_of_a_scrape(files: Tls) -> None:
    targets: list[Target] = []
    vrm, agent = exporter(1.0, targets), exporter(2.0)
    with stopped_afterwards(vrm, agent):
        targets.append(Target("vrm", "vrm", f"http://{address(vrm)}/metrics"))
        targets.append(Target("agent", "cna-01", f"http://{address(agent)}/metrics"))
        one = relay.Relay(f"http://{address(vrm)}/discovery", "fusion-lab", files)
        with served(one, None) as port, urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            page = answer.read().decode()
    assert samples(page, "up") == {"vrm": 1, "cna-01": 1}
    assert samples(page, "fusion_load") == {"vrm": 1, "cna-01": 2}
    (load,) = [f for f in text_string_to_metric_families(page) if f.name == "fusion_load"]
    assert load.documentation == 'Load, in "parts" {of} one.'
    assert load.type == "gauge"
    assert load.samples[1].labels == {
        "job": "fusion-lab",
        "instance": address(agent),
        "role": "agent",
        "process": "cna-01",
        "host": 'c"n{a',
    }
    assert page.count("# TYPE fusion_ticks_total counter") == 1


def test_a_process_that_is_gone_is_down_and_a_vrm_too(files: Tls) -> None:
    targets: list[Target] = []
    vrm, agent = exporter(1.0, targets), exporter(2.0)
    with stopped_afterwards(vrm):
        targets.append(Target("vrm", "vrm", f"http://{address(vrm)}/metrics"))
        targets.append(Target("agent", "cna-01", f"http://{address(agent)}/metrics"))
        one = relay.Relay(f"http://{address(vrm)}/discovery", "fusion-lab", files)
        assert samples(one.page(), "up") == {"vrm": 1, "cna-01": 1}
        agent.stop()
        assert samples(one.page(), "up") == {"vrm": 1, "cna-01": 0}
        assert samples(one.page(), "fusion_load") == {"vrm": 1}
    assert samples(one.page(), "up") == {"vrm": 0, "cna-01": 0}


def test_before_a_launch_there_is_an_empty_page(files: Tls) -> None:
    gone = exporter(1.0)
    url = f"http://{address(gone)}/discovery"
    gone.stop()
    page = relay.Relay(url, "fusion-lab", files).page()
    assert [one.samples for one in text_string_to_metric_families(page)] == [[]]


@pytest.mark.parametrize("trusted", [True, False], ids=["ours", "a stranger's"])
def test_hosts_of_other_nodes_are_scraped_by_mutual_tls(
    files: Tls, tmp_path: Path, trusted: bool
) -> None:
    # The exporter takes TLS for what is not 127.0.0.1, as pods of other nodes are not.
    theirs = files if trusted else written(tmp_path, release="other")
    agent = exporter(3.0, address="127.0.0.2:0", tls=theirs)
    document = json.dumps(discovery([Target("agent", "a", f"https://{address(agent)}/metrics")]))
    (target,) = relay.targets_of(document, "fusion-lab")
    with stopped_afterwards(agent):
        text = relay.Relay("http://127.0.0.1:1/", "fusion-lab", files)._fetch(target)
    assert ("fusion_load" in text) if trusted else (text is None)


def test_with_an_operator_only_those_with_certificates_may_scrape(files: Tls) -> None:
    gone = relay.Relay("http://127.0.0.1:1/discovery", "fusion-lab", files)
    context = ssl.create_default_context(cafile=files.ca)
    context.check_hostname = False
    with served(gone, files) as port:
        with pytest.raises(OSError):
            ask(port, context)
        context.load_cert_chain(files.certificate, files.key)
        assert "# TYPE up gauge" in ask(port, context)


def ask(port: int, context: ssl.SSLContext) -> str:
    connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_certificates_name_the_datacenter_rather_than_machines() -> None:
    assert relay.COMMON_NAME == COMMON_NAME
