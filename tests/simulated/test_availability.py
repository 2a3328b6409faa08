"""What a run says of failovers and of what clients saw."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cluster.cli.sim_one import availability_lines
from cluster.simulated.availability import Availability, ReadBack, bound_s, merged
from cluster.simulated.run import RunOutcome, RunRequest, run
from cluster.simulated.summary import campaign_document, document_of
from fusion.faults.distributions import Exponential
from fusion.faults.plan import FaultPlan, HostCrash
from fusion.guest.ledger import Ledger
from tests.simulated.bugs.replacing import replaced
from tests.simulated.small import small_request
from tests.simulated.trial import stored_datacenter

CRASHES = FaultPlan(
    host_crash=HostCrash(after=Exponential(60.0), lasts=Exponential(600.0)), heal_s=0.0
)


def crashing(seed: int) -> RunRequest:
    """A minute and a half in which hosts die for good."""
    return RunRequest(replace(stored_datacenter(), seed=seed, faults=CRASHES), 90.0)


@pytest.fixture(scope="module")
def outcome() -> RunOutcome:
    return run(crashing(seed=3))


def test_failovers_are_measured_from_the_last_sign_of_life(outcome: RunOutcome) -> None:
    measures = outcome.availability
    assert outcome.sound
    assert measures is not None
    assert len(measures.failover_s) > 0
    lease_s = stored_datacenter().lease_s
    assert min(measures.failover_s) > lease_s - stored_datacenter().renewal_s
    assert measures.percentile_s(50) <= measures.percentile_s(99) <= measures.percentile_s(100)
    assert measures.percentile_s(100) == max(measures.failover_s)
    assert measures.bound_s == bound_s(stored_datacenter())


def test_clients_are_measured_and_their_ledgers_read_back(outcome: RunOutcome) -> None:
    measures = outcome.availability
    assert measures is not None
    assert 0 < measures.answered < measures.requests
    assert measures.longest_gap_s > min(measures.failover_s) - 1.0
    assert measures.read_back.lost_durable == 0
    assert measures.read_back.unread < len(stored_datacenter().clients)


def test_one_seed_measures_the_same_again(outcome: RunOutcome) -> None:
    again = run(crashing(seed=3))
    assert (again.digest, again.availability) == (outcome.digest, outcome.availability)


def test_entries_that_guests_do_not_find_are_a_violation() -> None:
    def forgetful(_: object) -> object:
        return lambda ledger, client: ([], [])

    calm = replace(stored_datacenter(), faults=None)
    with replaced(Ledger, "runs", forgetful):
        outcome = run(RunRequest(calm, 30.0))
    (finding,) = outcome.violations
    assert finding.invariant == "2 (durable)"
    assert finding.text.startswith("guests do not find ")


def test_the_documents_have_it(outcome: RunOutcome) -> None:
    measures = outcome.availability
    assert measures is not None
    figures = json.loads(json.dumps(document_of(outcome)))["availability"]
    assert figures["failovers"] == len(measures.failover_s)
    assert figures["failover_max_s"] == max(measures.failover_s)
    assert figures["lost_durable"] == 0
    both = campaign_document([outcome, outcome], 2, 1.0, False)["availability"]
    assert both["failovers"] == 2 * len(measures.failover_s)
    assert both["failover_p50_s"] == pytest.approx(figures["failover_p50_s"], rel=0.2)
    assert both["longest_gap_s"] == figures["longest_gap_s"]
    assert document_of(run(small_request(for_s=3.0)))["availability"] is None


ONE = Availability(
    failover_s=(10.0, 14.0),
    gave_up=1,
    bound_s=20.0,
    requests=1200,
    answered=1100,
    longest_gap_s=15.5,
    read_back=ReadBack(lost=3, lost_durable=0, unread=1),
)


def test_runs_add_up() -> None:
    other = replace(ONE, failover_s=(), longest_gap_s=16.0, read_back=ReadBack(lost=1))
    assert merged([ONE, other]) == replace(
        ONE,
        gave_up=2,
        requests=2400,
        answered=2200,
        longest_gap_s=16.0,
        read_back=ReadBack(lost=4, unread=1),
    )


def test_the_summary_says_it_in_two_lines() -> None:
    assert list(availability_lines(ONE)) == [
        "failovers: 2 in p50 12.0 s, p99 14.0 s, max 14.0 s "
        "(for one host and nothing else: 20.0 s at most), 1 given up",
        "clients: 1,100 of 1,200 requests answered, longest gap 15.5 s, "
        "3 acknowledged entries lost (0 of them from disk), 1 ledgers could not be read",
    ]
    nothing = replace(ONE, failover_s=(), gave_up=0, requests=0)
    assert list(availability_lines(nothing)) == []
