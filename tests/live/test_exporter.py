import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cluster.live.exporter import Exporter
from fusion.errors import FusionError
from tests.live.launched import free_address


class One(Collector):
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("fusion_one", "Always one", value=1)


@pytest.fixture
def address() -> str:
    return free_address()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read()
    assert isinstance(text, bytes)
    return text.decode()


def test_metrics_and_discovery(address: str) -> None:
    exporter = Exporter(address, [One()], lambda: '[{"targets": []}]')
    try:
        text = get(f"http://{address}/metrics")
        assert "fusion_one 1.0" in text
        assert "process_cpu_seconds_total" in text
        assert get(f"http://{address}/discovery") == '[{"targets": []}]'
    finally:
        exporter.stop()


def test_discovery_is_only_where_something_can_be_discovered(address: str) -> None:
    exporter = Exporter(address, [])
    try:
        with pytest.raises(urllib.error.HTTPError, match="404") as missing:
            get(f"http://{address}/discovery")
        missing.value.close()
    finally:
        exporter.stop()


def test_a_taken_port_is_told(address: str) -> None:
    host, _, port = address.partition(":")
    with (
        socket.create_server((host, int(port))),
        pytest.raises(FusionError, match=f"metrics cannot be served on {address}"),
    ):
        Exporter(address, [])
