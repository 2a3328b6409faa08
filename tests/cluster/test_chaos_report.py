"""Reports of experiments: what is in the page, the JSON and the JUnit file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cluster.chaos import report
from cluster.chaos.report.axis import TimeAxis, united
from cluster.chaos.report.elements import element
from cluster.chaos.report.gauges import shown_gauges
from cluster.chaos.report.page import page
from fusion.experiment.evidence import Alerted, Evidence, Look, Told
from fusion.experiment.moments import alarmed_after_s, recovered_after_s
from fusion.experiment.words import Key, bound, counted, share
from tests.cluster import chaos_evidence
from tests.cluster.chaos_evidence import GAP, HEALED_S, LASTS_S, LOST, STRUCK_S


class Balanced(HTMLParser):
    """Refuses elements that are not closed, or in a wrong order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(markup: str) -> str:
    """Return the words of a page that is well-formed."""
    parser = Balanced()
    parser.feed(markup)
    assert parser.open == []
    return " ".join(parser.text)


def told(evidence: Evidence) -> str:
    return read(page(evidence))


@pytest.mark.parametrize("name", chaos_evidence.ALL)
class TestEveryReport:
    def test_says_its_verdict_and_why(self, name: str) -> None:
        evidence = chaos_evidence.ALL[name]()
        words = told(evidence)
        assert evidence.experiment.question in words
        assert evidence.verdict.judgement.capitalize() in words
        assert evidence.verdict.why in words
        assert all(finding.sentence in words for finding in evidence.verdict.findings)

    def test_can_be_repeated(self, name: str) -> None:
        evidence = chaos_evidence.ALL[name]()
        words = told(evidence)
        assert evidence.command in words
        assert evidence.digest in words
        assert all(version in words for version in evidence.versions.values())

    def test_is_the_same_for_the_same_evidence(self, name: str) -> None:
        assert page(chaos_evidence.ALL[name]()) == page(chaos_evidence.ALL[name]())

    def test_names_no_address_and_loads_nothing(self, name: str) -> None:
        markup = page(chaos_evidence.ALL[name]())
        assert re.search(r"https?:|//[a-z]|url\(|@import|\ssrc=|<link", markup) is None
        assert "default-src 'none'" in markup

    def test_is_json_that_is_strict(self, name: str) -> None:
        evidence = chaos_evidence.ALL[name]()
        text = json.dumps(report.to_json(evidence), allow_nan=False)
        document = json.loads(text)
        assert document["verdict"] == evidence.verdict.judgement
        assert document["seed"] == evidence.seed
        assert len(document["run"]["looks"]) == len(evidence.run.looks)
        assert len(document["run"]["recoveries"]) == len(evidence.run.recoveries)


class TestThePage:
    def test_has_every_lane_of_a_full_run(self) -> None:
        words = told(chaos_evidence.passed())
        for heading in (
            "Faults",
            "Hosts",
            "VMs that did not run",
            "Restarts",
            "Migrations",
            "Clients",
            "Figures",
        ):
            assert heading in words
        assert "7 others as usual all the time" in words
        assert "web-01 unknown from 23s to 30.6s" in words
        assert "build-02 migrating" not in words
        assert "a host dies: host crash of cna-03 from 20s for 40s" in words
        assert "shop-05 had no answer for 26.1s, from 19.9s" in words
        assert "build-02 from cna-01 to cna-05: moved, in 9.5s, paused for 210ms" in words

    def test_leaves_out_what_nobody_saw(self) -> None:
        words = told(chaos_evidence.without_clients())
        assert "had no answer" not in words
        assert "Latency" not in words
        assert "Availability" not in words
        assert "web-03, fenced: 5.8s of 24s" in words

    def test_shows_200_restarts_and_says_what_it_left_out(self) -> None:
        words = told(chaos_evidence.crowded())
        assert "200 restarts" in words
        assert "web-200, queued: 49.8s of 1m12s" in words
        assert "The other 500 are in report.json." in words
        assert "and 90 others" in words

    def test_escapes_what_others_wrote(self) -> None:
        markup = page(chaos_evidence.violated())
        assert markup.count("<script") == 1
        assert "<script>alert('web-01')</script> & \"web-02\"" in read(markup)

    def test_escapes_the_name_of_everything(self) -> None:
        evidence = chaos_evidence.failed()
        harmful = '"><img src=x onerror=alert(1)>'
        run = replace(
            evidence.run,
            states=tuple(replace(span, entity=harmful) for span in evidence.run.states),
            clients=tuple(replace(client, name=harmful) for client in evidence.run.clients),
            recoveries=tuple(replace(each, vm=harmful) for each in evidence.run.recoveries),
            faults=tuple(replace(fault, targets=(harmful,)) for fault in evidence.run.faults),
        )
        markup = page(replace(evidence, run=run, command=harmful, versions={harmful: harmful}))
        assert "<img" not in markup
        assert harmful in read(markup)

    def test_warns_of_what_could_not_be_undone(self) -> None:
        words = told(chaos_evidence.aborted())
        assert "Aborted: vms_running_share <= 0.5 held for 3 s" in words
        assert "Not undone: the link is cut (cna-03): cna-03 does not answer" in words
        assert "Not observed: the link is cut" in words

    def test_folds_warnings_beyond_the_first(self) -> None:
        evidence = chaos_evidence.passed()
        broken = tuple(f"single instance at {n} s" for n in range(20))
        words = told(replace(evidence, run=replace(evidence.run, violations=broken)))
        assert "and 14 more" in words
        assert all(text in words for text in broken)

    def test_tells_blast_radii_apart(self) -> None:
        parts = re.findall(r'class="chips (\w+)">(.*?)</ul>', page(chaos_evidence.failed()))
        names = {style: re.findall(r"<li>(.*?)</li>", chips) for style, chips in parts}
        assert names == {
            "struck": ["cna-03"],
            "carried": ["web-01", "web-02"],
            "spared": ["web-09"],
            "beyond": ["db-01"],
        }

    def test_tells_which_alert_fired_first(self) -> None:
        evidence = chaos_evidence.passed()
        (fault,) = evidence.run.faults
        assert "until the platform's first error; no Prometheus watched" in told(evidence)
        alerts = (
            Alerted("FusionExperimentRunning", "info", "demo", 0.0, fault.began_s + 1.0),
            Alerted("FusionHeartbeatLate", "warning", "cna-03", fault.began_s + 3.0, None),
            Alerted("FusionHostDown", "critical", "cna-03", fault.began_s + 4.0, fault.began_s + 9),
        )
        watched = replace(evidence, run=replace(evidence.run, alerts=alerts))
        words = told(watched)
        assert "until FusionHostDown of cna-03 fired" in words
        assert "no Prometheus watched" not in words
        assert report.to_json(watched)["alerted_after_s"] == 9.0

    def test_shows_what_failed_first(self) -> None:
        judgements = re.findall(r'<li class="(\w+)"><strong', page(chaos_evidence.failed()))
        assert judgements == ["fail", "pass", "pass", "pass", "pass"]

    def test_of_a_run_that_never_began(self) -> None:
        evidence = chaos_evidence.inconclusive()
        empty = replace(evidence, run=replace(evidence.run, looks=()))
        assert "There was no steady state before." in told(empty)


class TestFiles:
    def test_both_are_written(self, tmp_path: Path) -> None:
        evidence = chaos_evidence.passed()
        path = report.write(evidence, tmp_path / "new" / "folder")
        assert path.read_text(encoding="utf-8") == page(evidence)
        document = json.loads(path.with_name("report.json").read_text(encoding="utf-8"))
        assert document == json.loads(json.dumps(report.to_json(evidence)))

    def test_what_never_ended_is_null(self) -> None:
        fault = report.to_json(chaos_evidence.aborted())["run"]["faults"][0]
        assert fault["ended_s"] is None


class TestJUnit:
    def test_counts_what_it_holds(self) -> None:
        evidences = [make() for make in chaos_evidence.ALL.values()]
        suites = ElementTree.fromstring(report.junit(evidences))
        assert len(suites) == len(evidences)
        for suite in suites:
            cases = suite.findall("testcase")
            assert int(suite.attrib["tests"]) == len(cases)
            assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
            assert int(suite.attrib["errors"]) == len(suite.findall("testcase/error"))

    def test_only_a_pass_lets_a_build_go_on(self) -> None:
        made = {name: make() for name, make in chaos_evidence.ALL.items()}
        bad = {
            name
            for name, evidence in made.items()
            if (suite := ElementTree.fromstring(report.junit([evidence]))[0]).attrib["failures"]
            != "0"
            or suite.attrib["errors"] != "0"
        }
        assert bad == {"failed", "inconclusive", "aborted", "violated"}

    def test_names_the_failure(self) -> None:
        suites = ElementTree.fromstring(report.junit([chaos_evidence.failed()]))
        failed = {
            case.attrib["name"]: failure.attrib["message"]
            for case in suites.iter("testcase")
            for failure in case.findall("failure")
        }
        assert failed["rto_s <= 30"] == "The longest failover took 41.2 s, 11.2 s too long."
        assert failed["verdict"] == "A failover took 41.2 s, where 30 s are allowed."

    def test_what_xml_cannot_say_is_replaced(self) -> None:
        evidence = chaos_evidence.failed()
        verdict = replace(evidence.verdict, why="bell \x07 and <tag>")
        suites = ElementTree.fromstring(report.junit([replace(evidence, verdict=verdict)]))
        failure = suites.find("testsuite/testcase/failure")
        assert failure is not None
        assert failure.attrib["message"] == "bell \ufffd and <tag>"


class TestMoments:
    def test_the_alarm_is_the_first_error_after_the_first_fault(self) -> None:
        run = chaos_evidence.passed().run
        assert alarmed_after_s(run) == pytest.approx(24.2 - STRUCK_S)
        earlier = replace(run, events=(Told(3.0, "error", "task.failed", "early"), *run.events))
        assert alarmed_after_s(earlier) == pytest.approx(24.2 - STRUCK_S)
        assert alarmed_after_s(replace(run, faults=())) is None

    def test_of_those_asked_for_by_kind_a_warning_is_an_alarm(self) -> None:
        run = chaos_evidence.passed().run
        told_s = STRUCK_S + 5.0, STRUCK_S + 6.0
        waits, gave_up = "vm.failover.waits", "vm.failover.gave-up"
        events = Told(told_s[0], "info", waits, ""), Told(told_s[1], "warning", gave_up, "")
        run = replace(run, events=events)
        assert alarmed_after_s(run, "vm.failover.*") == pytest.approx(6.0)
        assert alarmed_after_s(run, waits) is alarmed_after_s(run) is None

    def test_all_run_again_when_no_look_after_finds_fewer(self) -> None:
        run = chaos_evidence.passed().run
        assert recovered_after_s(run) == 43.0 - STRUCK_S
        again = (*run.looks, Look(LASTS_S + 1, {"vms_running_share": 0.9}))
        assert recovered_after_s(replace(run, looks=again)) is None
        steady = tuple(look for look in run.looks if look.values["vms_running_share"] == 1.0)
        assert recovered_after_s(replace(run, looks=steady)) is None


class TestTheAxis:
    @pytest.mark.parametrize("end_s", [0.5, 7.0, 24.0, 120.0, 3600.0, 86400.0, 10_000_000.0])
    def test_has_a_few_ticks_within(self, end_s: float) -> None:
        ticks = [at_s for at_s, _ in TimeAxis(end_s).ticks()]
        assert ticks[0] == 0.0
        assert 3 <= len(ticks) <= 7
        assert ticks[-1] <= end_s * (1 + 1e-9)

    def test_places_what_lies_outside_at_the_edge(self) -> None:
        axis = TimeAxis(LASTS_S)
        assert [axis.place(at_s) for at_s in (-5.0, HEALED_S, float("inf"))] == [0.0, 0.5, 1.0]

    def test_overlapping_faults_are_one_band(self) -> None:
        assert united([(5.0, 9.0), (0.0, 3.0), (2.0, 4.0)]) == [(0.0, 4.0), (5.0, 9.0)]


class TestWords:
    def test_a_share_that_is_not_all_never_looks_like_it(self) -> None:
        assert [share(value) for value in (1.0, 0.9999999, 0.97613, 0.5, 1e-9, 0.0)] == [
            "100 %",
            "> 99.999 %",
            "97.613 %",
            "50 %",
            "< 0.0001 %",
            "0 %",
        ]

    def test_figures_have_names_and_units(self) -> None:
        assert Key.parsed("longest_gap_s@web-*").title == "Longest gap of web-*"
        assert Key("vms_running_share").title == "VMs running, share"
        assert Key("rto_s").shown(22.4) == "22.4s"
        assert Key("errors").shown(1.0) == "1 request"
        assert Key("lost_entries").shown(1.0) == "1 entry"
        assert Key("availability").shown(None) == "–"
        assert Key("hosts_normal").between(7.0, 8.0) == "7 to 8 hosts"
        assert Key("rto_s").between(2.0, 2.0) == "2s"
        assert Key("latency_p95_s").shown(0.0023) == "2.3ms"
        assert bound(GAP) == "≤ 30s"
        assert bound(LOST) == "= 0"

    def test_things_are_counted(self) -> None:
        assert [counted(1, "entity"), counted(2, "entity"), counted(1200, "VM")] == [
            "1 entity",
            "2 entities",
            "1,200 VMs",
        ]

    def test_attributes_and_text_are_escaped(self) -> None:
        assert element("p", "<&>", title='"') == '<p title="&quot;">&lt;&amp;&gt;</p>'


def test_gauges_that_are_asked_for_come_first_and_those_that_stand_still_not_at_all() -> None:
    shown = [str(key) for key in shown_gauges(chaos_evidence.passed())]
    assert shown == ["vms_running_share", "answered_share", "hosts_normal", "latency_p95_s"]
