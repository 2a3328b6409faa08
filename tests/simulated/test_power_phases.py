"""Hosts that are switched on at once come on one after the other, within a heartbeat."""

from __future__ import annotations

from dataclasses import replace

from cluster.simulated.power import POWER_ON_S
from cluster.simulated.world import SimulatedWorld
from tests.simulated.small import small_datacenter


def came_on_s(seed: int) -> dict[str, float]:
    datacenter = replace(small_datacenter(), seed=seed)
    with SimulatedWorld(datacenter, seed) as world:
        found: dict[str, float] = {}

        def on(host: str) -> None:
            found[host] = world.loop.now_s

        world.supply.followers.append(on)
        world.launch()
        world.run_until(POWER_ON_S + 2 * datacenter.heartbeat_interval_s)
        return found


def test_each_host_has_a_time_of_its_own_by_the_seed() -> None:
    first, interval_s = came_on_s(1), small_datacenter().heartbeat_interval_s
    assert len(set(first.values())) == len(first) == len(small_datacenter().hosts)
    spread_s = max(first.values()) - min(first.values())
    assert 0.0 < spread_s < interval_s
    assert came_on_s(1) == first != came_on_s(2)
