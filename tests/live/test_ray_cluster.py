"""On a Ray cluster of somebody else's: three nodes, all on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.live.processes import alive, processes_of
from tests.live.launched import (
    Launched,
    assert_nothing_is_left,
    becomes,
    brought_up,
    datacenter_file,
)

pytestmark = pytest.mark.live

_SMALL = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # keeps Ray on loopback
    try:
        with three_nodes() as cluster:
            yield cluster
    finally:
        del os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]


@contextmanager
def three_nodes() -> Iterator[Any]:
    """A cluster; a second try where Ray gives up on a node of a busy machine after its 30 s."""
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster()
    try:
        try:
            add_nodes(cluster)
        except Exception:
            cluster.shutdown()
            cluster = Cluster()
            add_nodes(cluster)
        yield cluster
    finally:
        cluster.shutdown()


def add_nodes(cluster: Any) -> None:
    cluster.add_node(**_SMALL, include_dashboard=False)
    for _ in range(2):
        cluster.add_node(**_SMALL)


@pytest.fixture(scope="module")
def spread(ray_cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    folder = tmp_path_factory.mktemp("spread")
    file = datacenter_file(folder, "spread", hosts=6)
    with brought_up(folder, file, "--ray-address", ray_cluster.address) as launched:
        yield launched


def raylet_of(pid: int) -> int:
    """Return the parent of a worker: the raylet of its node."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


def test_hosts_are_spread_evenly_over_the_nodes(spread: Launched) -> None:
    raylets = [raylet_of(host.pid) for host in spread.hosts().values()]
    assert sorted(raylets.count(raylet) for raylet in set(raylets)) == [2, 2, 2]


def test_losing_a_node_takes_its_hosts_and_only_those(spread: Launched) -> None:
    hosts = spread.hosts()
    vrms_raylet = raylet_of(spread.pid_of("vrm"))
    lost_raylet = next(
        raylet for host in hosts.values() if (raylet := raylet_of(host.pid)) != vrms_raylet
    )
    expected = [
        "faulty" if raylet_of(host.pid) == lost_raylet else "normal" for host in hosts.values()
    ]
    assert expected.count("faulty") == 2
    lost = [name for name, state in zip(hosts, expected, strict=True) if state != "normal"]
    told = spread.told("chaos", "inject", "node_loss", lost[0])
    assert (told["acting"], told["detail"]) == (True, f"the node of {', '.join(lost)} is lost")
    assert [p.what for p in spread.state.processes if p.what in lost] == []
    becomes(spread.host_states, expected)


def test_healed_its_hosts_come_on_elsewhere(spread: Launched) -> None:
    (healed,) = spread.told("chaos", "heal")["healed"]
    assert healed["failure"] == ""
    becomes(spread.host_states, ["normal"] * 6)
    raylets = [raylet_of(host.pid) for host in spread.hosts().values()]
    assert sorted(raylets.count(raylet) for raylet in set(raylets)) == [3, 3]


def test_the_node_of_the_vrm_is_none_to_lose(spread: Launched) -> None:
    vrms_raylet = raylet_of(spread.pid_of("vrm"))
    host = next(n for n, h in spread.hosts().items() if raylet_of(h.pid) == vrms_raylet)
    refused = spread.fusion("chaos", "inject", "node_loss", host)
    assert f"{host} is on the Ray node of the VRM, which is to stay; take another" in refused.stderr


def test_shutting_down_leaves_the_cluster_running(spread: Launched, ray_cluster: Any) -> None:
    last = spread.state
    ours = list(last.processes)
    assert {process.what for process in ours} >= {"vrm"}
    assert spread.stop() == 0
    assert_nothing_is_left(spread, last)
    assert [process for process in ours if alive(process)] == []
    assert processes_of(last) == []
    assert len([node for node in ray_cluster.list_all_nodes() if node.any_processes_alive()]) == 2
