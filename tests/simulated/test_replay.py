"""A recorded run comes out the same, or it is said that it does not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from cluster.simulated import provenance
from cluster.simulated.record import read_manifest, record
from cluster.simulated.replay import differences, repeat
from cluster.simulated.run import run
from cluster.simulated.world import SimulatedWorld
from tests.simulated.small import small_request, with_orders

ORIGIN = provenance.present()


def test_a_recorded_run_is_repeated_from_its_folder_alone(tmp_path: Path) -> None:
    record(with_orders(small_request(for_s=90.0)), tmp_path / "run", ORIGIN)
    repeated = repeat(read_manifest(tmp_path / "run"))
    assert repeated.the_same
    assert repeated.outcome.simulated_s == 90.0


def test_what_was_interrupted_is_repeated_as_far_as_it_got(tmp_path: Path) -> None:
    class Stop:
        now = False

        def look(self, world: SimulatedWorld) -> None:
            self.now = world.loop.now_s > 30.0

    stop = Stop()
    record(
        with_orders(small_request(for_s=300.0)),
        tmp_path / "run",
        ORIGIN,
        onlookers=[stop],
        interrupted=lambda: stop.now,
    )
    repeated = repeat(read_manifest(tmp_path / "run"))
    assert repeated.the_same
    assert repeated.outcome.simulated_s == 30.5


def test_another_configuration_gives_another_digest(tmp_path: Path) -> None:
    record(small_request(), tmp_path / "run", ORIGIN)
    path = tmp_path / "run" / "manifest.json"
    tree = json.loads(path.read_text())
    tree["configuration"]["heartbeat_interval_s"] = 2.0
    path.write_text(json.dumps(tree))
    repeated = repeat(read_manifest(tmp_path / "run"))
    assert not repeated.the_same
    assert repeated.expected_digest == tree["digest"]


POLICY = """
from fusion.policy.placement import Decision


class Last:
    def place(self, request, hosts):
        return Decision(hosts.names[-1])
"""


def test_a_policy_is_part_of_the_record(tmp_path: Path) -> None:
    file = tmp_path / "last.py"
    file.write_text(POLICY)
    request = small_request()
    (cluster,) = request.datacenter.clusters
    clusters = (replace(cluster, policy=f"{file}:Last"),)
    request = replace(request, datacenter=replace(request.datacenter, clusters=clusters))
    (entry,) = provenance.inputs_of("demo", request.datacenter, None)[1:]
    assert entry == {"path": str(file), "sha256": hashlib.sha256(POLICY.encode()).hexdigest()}
    outcome = record(request, tmp_path / "run", ORIGIN)
    assert outcome.digest != run(small_request()).digest
    file.unlink()
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    assert repeat(read_manifest(tmp_path / "elsewhere")).the_same


def test_other_code_and_libraries_are_named() -> None:
    then = provenance.Origin("abc", True, {"numpy": "1.0", "python": "3.11"})
    assert differences(then, then) == []
    now = replace(then, commit="def", versions={"numpy": "2.0", "python": "3.11"})
    assert differences(then, now) == [
        "recorded at commit abc, this is def",
        "recorded with numpy 1.0, this is 2.0",
    ]
    assert differences(then, replace(then, clean=False)) == [
        "the code of commit abc was or is changed"
    ]
