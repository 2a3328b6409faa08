"""Evidence of experiments that came to every kind of end, for reports."""

from __future__ import annotations

import math
from dataclasses import replace

from fusion.experiment.evidence import (
    BlastRadius,
    ClientSeen,
    Evidence,
    Finding,
    Judgement,
    Look,
    Moved,
    Recovery,
    Run,
    Span,
    Struck,
    Told,
    Verdict,
    World,
)
from fusion.experiment.spec import (
    Comparison,
    Condition,
    Experiment,
    Hypothesis,
    PlannedFault,
    Selector,
    When,
)
from fusion.faults.schedule import FaultKind

LASTS_S = 120.0
STRUCK_S, HEALED_S = 20.0, 60.0
PHASES = ("detected", "fenced", "queued", "placed", "started", "running")

RUNNING = Hypothesis(
    "every VM runs", Condition("vms_running_share", Comparison.EQUAL, 1.0), When.EDGE
)
ANSWERED = Hypothesis(
    "clients are answered",
    Condition("answered_share", Comparison.AT_LEAST, 0.85),
    When.ON_CHAOS,
    tolerance_s=5.0,
)
RTO = Condition("rto_s", Comparison.AT_MOST, 30.0)
LOST = Condition("lost_durable_entries", Comparison.EQUAL, 0.0)
GAP = Condition("longest_gap_s", Comparison.AT_MOST, 30.0, "web-*")

EXPERIMENT = Experiment(
    name="one-host-of-eight-dies",
    question="What happens to my services when one host of eight dies?",
    scenario="demo",
    duration_s=LASTS_S,
    faults=(
        PlannedFault(
            "a host dies",
            FaultKind.HOST_CRASH,
            STRUCK_S,
            HEALED_S - STRUCK_S,
            Selector(role="host", count=1),
        ),
    ),
    hypotheses=(RUNNING, ANSWERED),
    expectations=(RTO, LOST, GAP),
    sources={"one-host-of-eight-dies.yaml": "5f2c" * 16},
)

CONTROL = Run(
    looks=tuple(
        Look(
            float(at_s),
            {
                "vms_running_share": 1.0,
                "hosts_normal": 8.0,
                "answered_share": 1.0,
                "latency_p95_s": 0.004 + 0.001 * (at_s % 3),
            },
        )
        for at_s in range(121)
    ),
    outcomes={"longest_gap_s": 1.01, "availability": 1.0, "lost_durable_entries": 0.0},
)


def passed() -> Evidence:
    """One host of eight dies, and its five VMs come back."""
    run = Run(
        looks=tuple(_look(float(at_s)) for at_s in range(121)),
        outcomes={
            "detection_s": 4.2,
            "rto_s": 22.4,
            "failovers": 5.0,
            "given_up": 0.0,
            "longest_gap_s": 23.1,
            "longest_gap_s@web-*": 23.1,
            "availability": 0.97613,
            "lost_entries": 3.0,
            "lost_durable_entries": 0.0,
        },
        states=(
            *(Span(f"cna-0{n}", "normal", 0.0, LASTS_S) for n in (1, 2, 4, 5, 6, 7, 8)),
            Span("cna-03", "normal", 0.0, 23.0),
            Span("cna-03", "disconnected", 23.0, 24.2),
            Span("cna-03", "faulty", 24.2, 61.0),
            Span("cna-03", "booting", 61.0, 84.0),
            Span("cna-03", "normal", 84.0, LASTS_S),
            Span("web-01", "unknown", 23.0, 30.6),
            Span("web-01", "starting", 30.6, 40.7),
            Span("build-02", "migrating", 88.0, 97.5),
        ),
        faults=(
            Struck("a host dies", "host_crash", ("cna-03",), (), STRUCK_S, HEALED_S, observed=True),
        ),
        recoveries=tuple(recovery(number) for number in range(5)),
        migrations=(
            Moved("build-02", "cna-01", "cna-05", 88.0, 97.5, 0.21, "moved"),
            Moved("db-01", "cna-02", "cna-03", 90.0, 104.0, 0.0, "cancelled"),
        ),
        clients=tuple(client(number, missed=number < 5) for number in range(16)),
        events=(
            Told(23.0, "warning", "host.disconnected", "host cna-03 is silent"),
            Told(24.2, "error", "host.faulty", "host cna-03 is dead: 5 VMs are restarted"),
            *(
                Told(36.0 + n, "info", "vm.restarted", f"VM web-0{n + 1} runs on cna-0{4 + n}")
                for n in range(5)
            ),
            Told(84.0, "info", "host.normal", "host cna-03 made itself known (incarnation 2)"),
        ),
    )
    findings = (
        Finding(RUNNING, Judgement.PASS, "All VMs ran before and after.", 1.0, 1.0),
        Finding(ANSWERED, Judgement.PASS, "At least 87.5 % were answered.", 0.875, 1.0),
        Finding(RTO, Judgement.PASS, "The longest failover took 22.4 s.", 22.4, None),
        Finding(LOST, Judgement.PASS, "Nothing that was on disk was lost.", 0.0, 0.0),
        Finding(GAP, Judgement.PASS, "No client of web-* waited longer than 23.1 s.", 23.1, 1.01),
    )
    return Evidence(
        experiment=EXPERIMENT,
        world=World.SIMULATED,
        seed=7,
        control=CONTROL,
        run=run,
        verdict=Verdict(
            Judgement.PASS,
            "Every VM was back within 22.4 s, and nothing durable was lost.",
            findings,
        ),
        blast=BlastRadius(
            planned=("cna-03", *(f"web-0{n}" for n in range(1, 6))),
            actual=("cna-03", *(f"web-0{n}" for n in range(1, 6))),
        ),
        command="fusion chaos run one-host-of-eight-dies --world simulated --seeds 7",
        versions={"fusion": "0.1.0", "python": "3.11.7", "numpy": "2.4.6", "grpcio": "1.85.1"},
        digest="b1946ac92492d2347c6235b4d2611184",
    )


def failed() -> Evidence:
    """A failover took too long, and more suffered than was planned."""
    evidence = passed()
    findings = (
        *evidence.verdict.findings[:2],
        Finding(RTO, Judgement.FAIL, "The longest failover took 41.2 s, 11.2 s too long.", 41.2),
        *evidence.verdict.findings[3:],
    )
    run = replace(evidence.run, outcomes={**evidence.run.outcomes, "rto_s": 41.2, "given_up": 1.0})
    return replace(
        evidence,
        run=run,
        verdict=Verdict(
            Judgement.FAIL, "A failover took 41.2 s, where 30 s are allowed.", findings
        ),
        blast=BlastRadius(
            planned=("cna-03", "web-09"),
            actual=("cna-03", "web-01", "web-02", "db-01"),
            carried=("web-01", "web-02", "web-03"),
        ),
    )


def inconclusive() -> Evidence:
    """There was no steady state to begin with, so nothing was done."""
    evidence = passed()
    unsteady = Finding(
        RUNNING, Judgement.INCONCLUSIVE, "Before the faults, 39 of 40 VMs ran.", 0.975, 1.0
    )
    return replace(
        evidence,
        run=Run(looks=(_look(0.0),), outcomes={}),
        verdict=Verdict(Judgement.INCONCLUSIVE, "There was no steady state before.", (unsteady,)),
        blast=BlastRadius(planned=("cna-03",), actual=()),
    )


def aborted() -> Evidence:
    """Ended by an abort condition half-way, with a fault that could not be undone."""
    evidence = passed()
    run = replace(
        evidence.run,
        looks=evidence.run.looks[:56],
        states=evidence.run.states[:10],
        migrations=(),
        faults=(
            Struck(
                "the link is cut",
                "partition",
                ("cna-03",),
                ("vrm",),
                STRUCK_S,
                math.inf,
                observed=False,
                unhealed="cna-03 does not answer",
            ),
        ),
        aborted="vms_running_share <= 0.5 held for 3 s",
    )
    return replace(
        evidence,
        run=run,
        verdict=Verdict(Judgement.ABORTED, "Fewer than half of the VMs ran.", ()),
    )


def without_clients() -> Evidence:
    """Nobody asked anything of the VMs."""
    evidence = passed()
    looks = tuple(
        Look(look.at_s, {k: v for k, v in look.values.items() if "vms" in k or "hosts" in k})
        for look in evidence.run.looks
    )
    outcomes = {"rto_s": 22.4, "detection_s": 4.2}
    return replace(evidence, run=replace(evidence.run, looks=looks, outcomes=outcomes, clients=()))


def crowded() -> Evidence:
    """A rack dies: 200 VMs come back, 200 clients miss them, and thirty faults overlap."""
    evidence = passed()
    run = replace(
        evidence.run,
        recoveries=tuple(recovery(number) for number in range(200)),
        clients=tuple(client(number, missed=True) for number in range(200)),
        faults=tuple(
            Struck(f"fault {n}", "slow_link", (f"cna-{n:02d}",), (), 3.0 * n, 3.0 * n + 12, True)
            for n in range(30)
        ),
        states=tuple(
            span
            for n in range(40)
            for span in (
                Span(f"cna-{n:02d}", "normal", 0.0, 20.0 + n),
                Span(f"cna-{n:02d}", "isolated", 20.0 + n, 40.0 + n),
                Span(f"cna-{n:02d}", "normal", 40.0 + n, LASTS_S),
            )
        ),
        events=tuple(
            Told(n / 10, "info", "vm.restarted", f"VM web-{n:03d} runs again") for n in range(900)
        ),
    )
    names = tuple(f"web-{n:03d}" for n in range(200))
    return replace(evidence, run=run, blast=BlastRadius(planned=names, actual=names[:150]))


def violated() -> Evidence:
    """An invariant was broken; the sentence quotes what someone called a VM."""
    evidence = failed()
    broken = "at most one instance holds the epoch: <script>alert('web-01')</script> & \"web-02\""
    return replace(evidence, run=replace(evidence.run, violations=(broken,)))


ALL = {
    "passed": passed,
    "failed": failed,
    "inconclusive": inconclusive,
    "aborted": aborted,
    "without_clients": without_clients,
    "crowded": crowded,
    "violated": violated,
}


def recovery(number: int) -> Recovery:
    """The ``number``-th VM to come back; later ones queue for longer."""
    lengths_s = (4.2, 5.8, 0.25 * number, 0.1, 0.4, 11.0 + number % 3)
    return Recovery(
        vm=f"web-{number + 1:02d}",
        from_host="cna-03",
        to_host=f"cna-0{4 + number % 5}",
        cause="host lost",
        began_s=STRUCK_S - 0.3,
        phases=tuple(zip(PHASES, lengths_s, strict=True)),
        outcome="running",
    )


def client(number: int, *, missed: bool) -> ClientSeen:
    """A client of one VM, which was away for a while where it ``missed`` it."""
    gap = (STRUCK_S - 0.5 + number % 7 / 10, 42.0 + number % 9)
    return ClientSeen(
        name=f"shop-{number + 1:02d}",
        vm=f"web-{number + 1:02d}",
        requests=120,
        answered=97 if missed else 120,
        longest_gap_s=gap[1] - gap[0] if missed else 1.0,
        gaps=(gap,) if missed else (),
        latencies=tuple(
            (at_s + number / 20, 0.003 * (1 + number * at_s % 5) + (0.4 if at_s == 43 else 0.0))
            for at_s in range(0, 120)
            if not (missed and gap[0] < at_s < gap[1])
        ),
        lost=1 if missed else 0,
        lost_durable=0,
    )


def _look(at_s: float) -> Look:
    away = STRUCK_S + 3 <= at_s < 43
    values = {
        "vms_running_share": 0.875 if away else 1.0,
        "hosts_normal": 7.0 if STRUCK_S + 3 <= at_s < 84 else 8.0,
        "answered_share": 0.875 if STRUCK_S < at_s < 43 else 1.0,
        "latency_p95_s": 0.02 if 43 <= at_s < 50 else 0.005 + 0.001 * (at_s % 2),
        "vrm_up": 1.0,
    }
    if 30 <= at_s < 33:
        del values["latency_p95_s"]
    return Look(at_s, values)
