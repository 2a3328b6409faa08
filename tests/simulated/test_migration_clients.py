"""What clients see of a VM that migrates: a gap as long as its downtime, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.simulated.availability import measured, read_back
from cluster.simulated.invariants import Violation, Watch
from cluster.simulated.world import SimulatedWorld
from fusion.memory.profiles import PROFILES
from fusion.migration.settings import MigrationSettings
from fusion.spec import GIB, ClientSpec, Durability
from tests.simulated.test_migration_forecast import (
    GIGABIT_BPS,
    Datacentre,
    a_vm,
    around,
    chosen,
)

#: Between two requests of the client.
EVERY_S = 0.02

#: What an entry takes that is written to an array, and its way there and back.
CALL_S = 0.03


@pytest.mark.parametrize("durability", list(Durability))
def test_a_client_waits_no_longer_than_its_vm_is_paused(durability: Durability) -> None:
    vm = a_vm("web", PROFILES["web-server"].of(GIB), GIB, 40.0)
    datacenter = replace(
        around([vm], [GIGABIT_BPS] * 2),
        clients=(
            ClientSpec("client", "web", every_s=EVERY_S, time_limit_s=2.0, durability=durability),
        ),
    )
    found: list[Violation] = []
    with SimulatedWorld(datacenter, seed=1) as world:
        watch = Watch(world, found.append)
        world.launch()
        world.run_until(10.3)
        datacentre = Datacentre(world)
        before = measured(world, world.run(read_back(world)))
        assert before.answered > 100
        for _ in range(4):  # there and back, twice
            (fact,) = datacentre.facts.vms()
            other = "h-01" if fact.host == "h-00" else "h-00"
            datacentre.migrate("web", other, chosen(MigrationSettings()))
            datacentre.migrated()
            world.run_until(world.loop.now_s + 3.0)
        downtimes_s = [each.progress.downtime_s for each in datacentre.facts.migrations()]
        assert all(downtimes_s)
        assert len(downtimes_s) == 4
        watch.finish()
        after = measured(world, world.run(read_back(world)))
    assert found == []
    assert (after.read_back.lost, after.read_back.unread) == (0, 0)
    assert 0.1 < after.longest_gap_s <= max(downtimes_s) + EVERY_S + CALL_S
