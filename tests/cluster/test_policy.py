"""Policies under study: found, run in place of the built-in ones, harmless in their mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from cluster import policy
from cluster.datacenter_file import DatacenterFileError, load
from cluster.rpc.v1 import vrm_pb2, vrm_pb2_grpc
from cluster.simulated.world import SimulatedWorld
from fusion.errors import InvalidInput
from fusion.host import HostState
from fusion.policy.placement import (
    HOST_STATES,
    Decision,
    HostsSnapshot,
    PlacementPolicy,
    PlacementRequest,
)
from fusion.spec import GIB, Datacenter

ROOT = Path(__file__).parents[2]
BEST_FIT = ROOT / "examples" / "policies" / "best_fit.py"
HEAD = "from fusion.policy.placement import Decision\n"
REQUEST = PlacementRequest("vm", "c", 1, 4 * GIB, 1000.0, 0.0)


def hosts(free_gib: list[int]) -> HostsSnapshot:
    count = len(free_gib)
    return HostsSnapshot(
        names=tuple(f"h{row}" for row in range(count)),
        clusters=("c",),
        cluster=np.zeros(count, dtype=np.int64),
        state=np.full(count, HOST_STATES.index(HostState.NORMAL), dtype=np.int8),
        cores=np.full(count, 8),
        memory_bytes=np.full(count, 64 * GIB),
        memory_committed_bytes=np.array([(64 - free) * GIB for free in free_gib]),
        cpu_mhz=np.full(count, 16_000.0),
        cpu_committed_mhz=np.zeros(count),
        cpu_reserved_mhz=np.zeros(count),
        cpu_demand_mhz=np.zeros(count),
    )


def made(tmp_path: Path, body: str, name: str = "Mine") -> PlacementPolicy:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + body)
    return policy.read(f"{path}:{name}").make()


def test_the_example_is_short_and_stands_in_the_documentation() -> None:
    text = BEST_FIT.read_text()
    assert len(text.splitlines()) < 30
    (shown,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "policies.md").read_text(), re.S)
    assert shown == text


def test_best_fit_takes_the_fullest_host_that_has_room() -> None:
    best_fit = policy.read(f"{BEST_FIT}:BestFit").make()
    assert best_fit.place(REQUEST, hosts([20, 3, 5, 40])) == Decision("h2")
    nowhere = best_fit.place(REQUEST, hosts([3, 2]))
    assert nowhere.host is None
    assert "2 lack memory" in nowhere.why


def test_a_function_will_do(tmp_path: Path) -> None:
    last = made(
        tmp_path, "def last(request, hosts):\n    return Decision(hosts.names[-1])\n", "last"
    )
    assert last.place(REQUEST, hosts([9, 9, 9])) == Decision("h2")


def test_a_dataclass_may_be_a_policy_and_is_made_anew_every_time(tmp_path: Path) -> None:
    body = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Mine:
    asked: int = 0
    def place(self, request, hosts):
        self.asked += 1
        return Decision(hosts.names[self.asked])
"""
    path = tmp_path / "mine.py"
    path.write_text(body.strip() + "\n" + HEAD)
    source = policy.read(f"{path}:Mine")
    assert source.make().place(REQUEST, hosts([9, 9, 9])) == Decision("h1")
    assert source.make().place(REQUEST, hosts([9, 9, 9])) == Decision("h1")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("1 / 0", r"failed: ZeroDivisionError: division by zero \(line 4\)"),
        ("Decision('h9')", "chose host 'h9', which there is not"),
        ("Decision('h1')", "chose host h1, which cannot take VM vm now"),
        ("Decision(7)", "chose host 7, which there is not"),
        ("'h0'", "answered 'h0'; a Decision is needed"),
        ("hosts.cores.sort()", "failed: ValueError: .*read-only.*"),
    ],
)
def test_what_a_policy_does_wrong_is_a_reason(tmp_path: Path, answer: str, reason: str) -> None:
    body = f"class Mine:\n    def place(self, request, hosts):\n        return {answer}\n"
    decision = made(tmp_path, body).place(REQUEST, hosts([9, 1]))
    assert decision.host is None
    assert re.fullmatch(f"policy mine.py:Mine {reason}", decision.why)


def test_a_policy_sees_what_those_before_were_given(tmp_path: Path) -> None:
    body = "class Mine:\n    def place(self, request, hosts):\n"
    body += "        return Decision(None, str(hosts.memory_free_bytes[0] >> 30))\n"
    mine, all_hosts = made(tmp_path, body), hosts([9])
    assert mine.place(REQUEST, all_hosts).why == "9"
    all_hosts.commit(0, REQUEST)
    assert mine.place(REQUEST, all_hosts).why == "5"


@pytest.mark.parametrize(
    ("body", "name", "mistake"),
    [
        ("class Mine: pass\n", "Mine", "Mine has no method place"),
        ("Mine = 7\n", "Mine", "Mine has no method place"),
        ("class Mine:\n    def __init__(self, x): pass\n", "Mine", "missing 1 required"),
        ("import nothing_of_the_kind\nMine = 1\n", "Mine", r"ModuleNotFoundError.*\(line 2\)"),
    ],
)
def test_what_is_no_policy_is_refused(tmp_path: Path, body: str, name: str, mistake: str) -> None:
    with pytest.raises(InvalidInput, match=f"policy mine.py:Mine: .*{mistake}"):
        made(tmp_path, body, name)


@pytest.mark.parametrize(
    ("written", "mistake"),
    [
        ("mine.py", "'mine.py' names no policy; write for example best_fit.py:BestFit"),
        ("mine.txt:Mine", "names no policy"),
        ("other.py:Mine", "no file other.py in "),
        ("mine.py:Yours", "has no Yours; it has Mine, mine"),
        ("broken.py:Mine", "broken.py, line 1: this is not Python"),
    ],
)
def test_references_that_lead_nowhere_are_refused(
    tmp_path: Path, written: str, mistake: str
) -> None:
    (tmp_path / "mine.py").write_text("class Mine: pass\ndef mine(): pass\n")
    (tmp_path / "broken.py").write_text("class Mine pass\n")
    with pytest.raises(InvalidInput, match=mistake):
        policy.resolve(written, [tmp_path])


FILE = """
datacenter: study
clusters: [{{name: c, policy: "{policy}"}}]
hosts: [{{name: "h-{{}}", count: 3, cores: 8, mhz: 2000, memory: 64GiB}}]
vms: [{{name: "vm-{{}}", count: 6, vcpus: 1, mhz: 1000, memory: 1GiB, boot: 1s}}]
"""


def written(tmp_path: Path, reference: str) -> str:
    path = tmp_path / "study.yaml"
    path.write_text(FILE.format(policy=reference))
    return str(path)


def test_a_file_names_a_policy_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HEAD + "class Mine:\n    def place(self, r, h): ...\n")
    datacenter = load(written(tmp_path, "mine.py:Mine"))
    assert datacenter.clusters[0].policy == f"{tmp_path / 'mine.py'}:Mine"
    assert len(policy.sources(datacenter)["c"].sha256) == 64


def test_a_mistake_in_the_file_names_its_place(tmp_path: Path) -> None:
    with pytest.raises(DatacenterFileError, match=r"^clusters\[0\]\.policy: no file mine\.py in "):
        load(written(tmp_path, "mine.py:Mine"))
    with pytest.raises(InvalidInput, match=r"^--policy: 'x' names no policy"):
        load("demo", policy="x")


def where_vms_run(datacenter: Datacenter, until_s: float = 20.0) -> tuple[list[str], list[str]]:
    """Return the hosts of the running VMs, and why tasks failed."""
    world = SimulatedWorld(datacenter, seed=1)
    world.launch()
    world.run_until(until_s)

    async def ask() -> tuple[list[str], list[str]]:
        stub = vrm_pb2_grpc.VrmStub(world.network("operator").channel("vrm"))
        vms = await stub.ListVms(vrm_pb2.ListVmsQuery())
        tasks = await stub.ListTasks(vrm_pb2.ListTasksQuery())
        return [vm.host for vm in vms.vms], [task.reason for task in tasks.tasks if task.reason]

    answer = world.run(ask())
    world.close()
    return answer


def test_the_simulated_vrm_places_by_the_policy(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        HEAD + "class Mine:\n    def place(self, r, h): return Decision('h-2')\n"
    )
    placed, reasons = where_vms_run(load(written(tmp_path, "mine.py:Mine")))
    assert placed == ["h-2"] * 6
    assert not reasons


def test_a_policy_that_raises_stops_no_vrm(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def mine(request, hosts):\n    raise KeyError('lost')\n")
    placed, reasons = where_vms_run(load(written(tmp_path, "mine.py:mine")))
    assert placed == [""] * 6
    assert reasons == [
        "6 of 6 VMs did not start (vm-1 and 5 more: "
        "policy mine.py:mine failed: KeyError: 'lost' (line 2))"
    ]
