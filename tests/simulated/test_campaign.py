"""Many seeds: every one is accounted for, whatever becomes of the process that runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.simulated.campaign import Campaign
from cluster.simulated.run import RunOutcome, RunRequest, run
from tests.simulated.small import small_request

REQUEST = small_request(for_s=5.0)


def quick(request: RunRequest) -> RunOutcome:
    return RunOutcome(request.seed, f"digest-{request.seed}", 5.0, 0.1, 1, os.getpid())


def some_go_wrong(request: RunRequest) -> RunOutcome:
    """Seeds 1 and 2 are really run, 3 kills its process, 4 raises, the others do nothing."""
    if request.seed <= 2:
        return run(request)
    if request.seed == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if request.seed == 4:
        raise ValueError("planted")
    return quick(request)


def never_ends(request: RunRequest) -> RunOutcome:
    if request.seed == 1:
        return quick(request)
    while True:
        time.sleep(1)


@pytest.fixture(scope="module")
def outcomes() -> list[RunOutcome]:
    """What came of twenty seeds in one process, and in the one that replaced it."""
    return list(Campaign(REQUEST.with_seed, range(1, 21), 1, some_go_wrong).outcomes())


@pytest.fixture
def by_seed(outcomes: list[RunOutcome]) -> dict[int, RunOutcome]:
    return {outcome.seed: outcome for outcome in outcomes}


def test_every_seed_is_told_once(outcomes: list[RunOutcome]) -> None:
    assert sorted(outcome.seed for outcome in outcomes) == list(range(1, 21))
    assert sorted(outcome.seed for outcome in outcomes if not outcome.sound) == [3, 4]


def test_workers_find_the_same_as_this_process(by_seed: dict[int, RunOutcome]) -> None:
    for seed in (1, 2):
        assert by_seed[seed].digest == run(REQUEST.with_seed(seed)).digest


def test_many_seeds_share_a_process(by_seed: dict[int, RunOutcome]) -> None:
    (worker,) = {by_seed[seed].rpcs for seed in range(5, 21)}
    assert worker != os.getpid()


def test_a_worker_that_dies_costs_its_seed_alone(by_seed: dict[int, RunOutcome]) -> None:
    failure = by_seed[3].failure
    assert failure is not None
    assert failure.text == "the process that ran it died (signal 9)"


def test_an_exception_outside_the_run_costs_its_seed_alone(by_seed: dict[int, RunOutcome]) -> None:
    failure = by_seed[4].failure
    assert failure is not None
    assert failure.text == "ValueError: planted"
    assert "some_go_wrong" in failure.traceback


def test_an_interrupt_ends_what_runs_and_keeps_what_was_found() -> None:
    found: list[RunOutcome] = []
    campaign = Campaign(REQUEST.with_seed, range(1, 9), jobs=1, work=never_ends)
    for outcome in campaign.outcomes(interrupted=lambda: bool(found)):
        found.append(outcome)
        worker = outcome.rpcs
    assert [outcome.seed for outcome in found] == [1]
    assert not _runs(worker)


def test_workers_end_with_a_campaign_that_is_killed() -> None:
    program = (
        "from cluster.simulated.campaign import Campaign\n"
        "from tests.simulated.test_campaign import REQUEST, never_ends\n"
        "for outcome in Campaign(REQUEST.with_seed, range(1, 9), 1, never_ends).outcomes():\n"
        "    print(outcome.rpcs, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as campaign:
        assert campaign.stdout is not None
        worker = int(campaign.stdout.readline())
        campaign.kill()
    deadline_s = time.monotonic() + 20.0
    while _runs(worker):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether there is such a process; a dead one may wait for whoever inherited it."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_workers_are_copies_of_a_process_without_other_threads() -> None:
    """It takes none of the time to load everything, and they end as soon as they are hung up on."""
    program = """
import sys, time
from cluster.simulated.campaign import GOODBYE_S, Campaign
from tests.simulated.test_campaign import REQUEST, tells_what_it_has
sys.modules["loaded here"] = sys
began_s = time.monotonic()
outcomes = list(Campaign(REQUEST.with_seed, range(1, 9), 3, tells_what_it_has).outcomes())
assert all(outcome.digest == "a copy" for outcome in outcomes), outcomes
assert time.monotonic() - began_s < GOODBYE_S
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def tells_what_it_has(request: RunRequest) -> RunOutcome:
    copy = "loaded here" in sys.modules
    return RunOutcome(request.seed, "a copy" if copy else "", 5.0, 0.1, 1, os.getpid())
