"""Many seeds: every one is accounted for, whatever becomes of the process that runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from cluster.simulated.campaign import Campaign
from cluster.simulated.run import RunOutcome, RunRequest, run
from tests.simulated.small import small_request

REQUEST = small_request(for_s=5.0)


def quick(request: RunRequest) -> RunOutcome:
    return RunOutcome(request.seed, f"digest-{request.seed}", 5.0, 0.1, 1, os.getpid())


def dies_at_3(request: RunRequest) -> RunOutcome:
    if request.seed == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return quick(request)


def fails_at_3(request: RunRequest) -> RunOutcome:
    if request.seed == 3:
        raise ValueError("planted")
    return quick(request)


def never_ends(request: RunRequest) -> RunOutcome:
    if request.seed == 1:
        return quick(request)
    while True:
        time.sleep(1)


def test_workers_find_the_same_as_this_process() -> None:
    outcomes = list(Campaign(REQUEST.with_seed, range(1, 4), jobs=2).outcomes())
    assert sorted(outcome.seed for outcome in outcomes) == [1, 2, 3]
    by_seed = {outcome.seed: outcome.digest for outcome in outcomes}
    assert by_seed == {seed: run(REQUEST.with_seed(seed)).digest for seed in (1, 2, 3)}


def test_many_seeds_share_few_processes() -> None:
    outcomes = list(Campaign(REQUEST.with_seed, range(20), jobs=2, work=quick).outcomes())
    assert sorted(outcome.seed for outcome in outcomes) == list(range(20))
    assert len({outcome.rpcs for outcome in outcomes}) <= 2


def test_a_worker_that_dies_costs_its_seed_alone() -> None:
    outcomes = list(Campaign(REQUEST.with_seed, range(1, 7), jobs=1, work=dies_at_3).outcomes())
    assert sorted(outcome.seed for outcome in outcomes) == [1, 2, 3, 4, 5, 6]
    (lost,) = [outcome for outcome in outcomes if not outcome.sound]
    assert lost.seed == 3
    assert lost.failure is not None
    assert lost.failure.text == "the process that ran it died (signal 9)"


def test_an_exception_outside_the_run_costs_its_seed_alone() -> None:
    outcomes = list(Campaign(REQUEST.with_seed, range(1, 6), jobs=1, work=fails_at_3).outcomes())
    (lost,) = [outcome for outcome in outcomes if not outcome.sound]
    assert (lost.seed, len(outcomes)) == (3, 5)
    assert lost.failure is not None
    assert lost.failure.text == "ValueError: planted"
    assert "fails_at_3" in lost.failure.traceback


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
