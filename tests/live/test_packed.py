"""Several hosts in one process: each with a power switch and failures of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from cluster.live.network import LiveNetwork
from cluster.live.power import LivePower
from tests.live.launched import Launched, becomes, brought_up, datacenter_file, power

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    folder = tmp_path_factory.mktemp("packed")
    file = datacenter_file(folder, "packed", "hosts_per_actor: 2", hosts=4)
    with brought_up(folder, file) as launched:
        yield launched


def test_hosts_share_processes_and_addresses(packed: Launched) -> None:
    assert packed.host_states() == ["normal"] * 4
    addresses = packed.state.addresses
    assert addresses["cna-01"] == addresses["cna-02"] == addresses["chassis-0"]
    assert addresses["cna-03"] == addresses["cna-04"] == addresses["chassis-1"]
    pids = [host.pid for host in packed.hosts().values()]
    assert pids == [packed.pid_of("chassis-0")] * 2 + [packed.pid_of("chassis-1")] * 2


def test_one_host_loses_power_and_its_neighbour_does_not_notice(packed: Launched) -> None:
    before = packed.pid_of("chassis-0")
    assert power(packed, lambda bmc: bmc.off("cna-01")) == 1
    becomes(packed.host_states, ["faulty", "normal", "normal", "normal"])
    assert power(packed, lambda bmc: bmc.on("cna-01")) == 2
    becomes(packed.host_states, ["normal"] * 4)
    assert power(packed, lambda bmc: bmc.reset("cna-02")) == 2
    becomes(lambda: [host.incarnation for host in packed.hosts().values()], [2, 2, 1, 1])
    assert packed.pid_of("chassis-0") == before


def test_a_killed_process_takes_its_hosts_and_they_can_be_switched_on_again(
    packed: Launched,
) -> None:
    os.kill(packed.pid_of("chassis-1"), signal.SIGKILL)
    becomes(packed.host_states, ["normal", "normal", "faulty", "faulty"])
    assert power(packed, lambda bmc: bmc.on("cna-03")) == 2
    becomes(packed.host_states, ["normal", "normal", "normal", "faulty"])
    assert power(packed, lambda bmc: bmc.on("cna-04")) == 2
    becomes(packed.host_states, ["normal"] * 4)


def test_a_host_that_its_process_switched_off_can_be_switched_on_again(packed: Launched) -> None:
    """A crash may be declared at the process itself, which the launcher hears nothing of."""

    async def crash() -> int:
        network = LiveNetwork(packed.state.addresses.__getitem__)
        try:
            return await LivePower(network, "chassis-1").off("cna-04")
        finally:
            await network.close()

    last = asyncio.run(crash())
    becomes(packed.host_states, ["normal", "normal", "normal", "faulty"])
    assert power(packed, lambda bmc: bmc.on("cna-04")) == last + 1
    becomes(packed.host_states, ["normal"] * 4)
    assert power(packed, lambda bmc: bmc.on("cna-04")) == last + 1  # it was on
