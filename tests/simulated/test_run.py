"""One run: what its outcome says, and how it ends."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cluster.agent.agent import Agent
from cluster.simulated import run as running
from cluster.simulated.invariants import Violation
from cluster.simulated.journal import Journal
from cluster.simulated.run import RunRequest, instants, run
from cluster.simulated.summary import document_of
from cluster.simulated.world import SimulatedWorld
from tests.simulated.small import small_request, with_orders


def test_a_run_goes_to_its_end_and_finds_nothing() -> None:
    outcome = run(small_request(seed=5))
    assert outcome.sound
    assert not outcome.interrupted
    assert (outcome.seed, outcome.simulated_s) == (5, 20.0)
    assert outcome.rpcs > 60  # three hosts, a heartbeat a second
    assert outcome.events >= outcome.rpcs
    assert outcome.wall_s > 0


def test_one_seed_gives_one_digest_whoever_looks_on() -> None:
    class Looker:
        looks = 0

        def look(self, world: SimulatedWorld) -> None:
            self.looks += 1

    request, looker = with_orders(small_request(for_s=120.0)), Looker()
    first = run(request)
    second = run(request, journal=Journal(), onlookers=[looker])
    other = run(request.with_seed(2))
    assert first.digest == second.digest != other.digest
    assert looker.looks == 121  # every tick of a second, and the end


def test_the_world_is_looked_at_in_the_middle_of_ticks() -> None:
    assert list(instants(small_request(for_s=3.0))) == [0.5, 1.5, 2.5, 3.0]
    assert list(instants(small_request(for_s=0.25))) == [0.25]


def test_an_exception_in_a_role_is_the_outcome_with_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def crash(self: Agent, serving: Callable[[], None]) -> None:
        serving()
        await asyncio.sleep(0)
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(Agent, "run", crash)
    outcome = run(small_request())
    assert not outcome.sound
    assert outcome.failure is not None
    assert outcome.failure.text.startswith("ZeroDivisionError: planted (tests/simulated/test_run")
    assert 1.0 <= outcome.failure.at_s == outcome.simulated_s < 2.0
    assert "planted" in outcome.failure.traceback


def test_a_run_ends_at_its_first_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watch:
        def __init__(self, world: SimulatedWorld, found: Callable[[Violation], None]) -> None:
            self._found = found
            world.loop.call_at(7.25, self._find)

        def _find(self) -> None:
            self._found(Violation("9 (planted)", 7.25, ("cna-02",), "it is planted"))

        def history(self, entities: tuple[str, ...], last: int) -> list[str]:
            return [f"history of {' '.join(entities)}"]

        def finish(self, calm_since_s: float) -> None:
            raise AssertionError("the run was over")

    monkeypatch.setattr(running, "Watch", Watch)
    outcome = run(small_request())
    (finding,) = outcome.violations
    assert (finding.invariant, finding.at_s, finding.text) == ("9 (planted)", 7.25, "it is planted")
    assert finding.events == ("history of cna-02",)
    assert not outcome.sound
    assert outcome.simulated_s == 7.5


def test_an_interrupted_run_says_how_far_it_got() -> None:
    outcome = run(small_request(), interrupted=lambda: True)
    assert outcome.interrupted
    assert outcome.sound
    assert outcome.simulated_s == 0.5
    assert document_of(outcome)["interrupted"] is True


def test_the_journal_has_events_of_all_parties_in_order() -> None:
    journal = Journal()
    run(small_request(), journal=journal)
    entries = journal.last(1000)
    assert [entry.time_s for entry in entries] == sorted(entry.time_s for entry in entries)
    assert {"vrm", "cna-01", "cna-02", "cna-03"} <= {entry.party for entry in entries}
    about = journal.last(2, ["i-00000001"])
    assert len(about) == 2
    assert all("i-00000001" in str(entry) for entry in about)


def test_the_journal_has_calls_that_failed() -> None:
    def lines_of(journal: Journal) -> list[str]:
        return [entry.what for entry in journal.last(1000)]

    class KillVrm:
        def look(self, world: SimulatedWorld) -> None:
            if world.loop.now_s == 5.5:
                world.kill_vrm()

    journal = Journal()
    run(small_request(for_s=8.0), journal=journal, onlookers=[KillVrm()])
    failed = [line for line in lines_of(journal) if line.endswith("UNAVAILABLE")]
    assert any("/Report" in line for line in failed)


def test_the_document_is_json_with_what_tools_rely_on() -> None:
    document: dict[str, Any] = json.loads(json.dumps(document_of(run(small_request()))))
    assert {
        *("seed", "digest", "simulated_s", "wall_s", "events", "rpcs", "violations", "failure"),
    } <= set(document)


def test_a_simulated_run_imports_no_ray() -> None:
    program = (
        "import sys; from cluster.cli.main import run\n"
        "assert run(['sim', 'demo', '--for', '1s']) == 0\n"
        "assert run(['sim', 'demo', '--for', '1s', '--seed', '2', '--json']) == 0\n"
        "sys.exit('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_another_seed_changes_the_draws_of_the_datacenter() -> None:
    request: RunRequest = small_request(seed=1).with_seed(7)
    assert request.seed == request.datacenter.seed == 7
