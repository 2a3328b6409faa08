"""Which faults are those of one cable, and what becomes of a cable in namespaces that are real."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.live import netns, run_state
from cluster.live.cables import Cables
from cluster.live.cabling import Cabling
from cluster.live.fault_book import WrittenFault
from cluster.live.layout import Chassis, Layout, Pinned
from cluster.live.preparation import prepare
from cluster.live.process_table import myself
from cluster.live.run_state import RunState
from fusion.errors import FusionError, NotFound, Refused
from fusion.faults.schedule import Cut, Direction, Fault, FaultKind, Impaired
from fusion.spec import HostSpec
from tests.live.launched import eventually

EVERYBODY = ("vrm", "arbiter", "san-1", "cna-01", "cna-02", "cna-03")

CABLING = Cabling(
    addresses={
        "vrm": "10.0.0.1:1",
        "bmc": "10.0.0.1:2",
        "arbiter": "10.0.0.1:3",
        "san-1": "10.0.0.1:4",
        "chassis-0": "10.0.0.2:5",
        "cna-01": "10.0.0.2:5",
        "cna-02": "10.0.0.2:5",
        "chassis-1": "10.0.0.3:6",
        "cna-03": "10.0.0.3:6",
    },
    namespaces={"10.0.0.1": "central", "10.0.0.2": "first", "10.0.0.3": "second"},
    ports={"10.0.0.2": "port1", "10.0.0.3": "port2"},
)


def cut(*targets: str, peers: tuple[str, ...]) -> Fault:
    return Fault(FaultKind.PARTITION, 0.0, 60.0, targets, Cut(peers=peers))


def others(*names: str) -> tuple[str, ...]:
    return tuple(name for name in EVERYBODY if name not in names)


@pytest.mark.parametrize(
    ("fault", "unplugged"),
    [
        pytest.param(cut("cna-03", peers=others("cna-03")), "chassis-1 cna-03", id="one host"),
        pytest.param(cut(*others("cna-03"), peers=("cna-03",)), "chassis-1 cna-03", id="turned"),
        pytest.param(
            cut("cna-01", peers=others("cna-01")), "chassis-0 cna-01 cna-02", id="one of a process"
        ),
        pytest.param(
            cut("cna-01", "cna-02", peers=others("cna-01", "cna-02")),
            "chassis-0 cna-01 cna-02",
            id="all of a process",
        ),
        pytest.param(cut("cna-03", peers=others("cna-03", "san-1")), "", id="not from its array"),
        pytest.param(cut("cna-03", peers=others("cna-03", "arbiter")), "", id="not from all"),
        pytest.param(cut("vrm", peers=others("vrm")), "", id="who has no cable of his own"),
        pytest.param(
            cut("cna-01", "cna-03", peers=others("cna-01", "cna-03", "cna-02")), "", id="two cables"
        ),
    ],
)
def test_a_cable_is_one_process_of_hosts_cut_off_from_everybody(
    fault: Fault, unplugged: str
) -> None:
    assert " ".join(sorted(CABLING.unplugged(fault))) == unplugged


def test_a_cable_is_cut_both_ways_on_all_planes_and_for_good() -> None:
    peers = others("cna-03")
    for parameters in (
        Cut(peers=peers, direction=Direction.OUT),
        Cut(peers=peers, planes=("management",)),
        Impaired(peers=peers, loss=1.0),
        None,
    ):
        fault = Fault(FaultKind.PARTITION, 0.0, 60.0, ("cna-03",), parameters)
        assert CABLING.unplugged(fault) == frozenset()
    with pytest.raises(NotFound, match="nobody of this datacenter is called cna-09"):
        CABLING.address_of("cna-09")


def test_where_everybody_is_outlives_the_launcher_in_the_run_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    state = RunState("small", str(tmp_path), myself("launcher"), "up", cabling=CABLING)
    state.save()
    assert run_state.read(state.file) == state
    replace(state, cabling=None).save()
    assert run_state.read(state.file).cabling is None


def test_namespaces_are_refused_where_they_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Refused, match="--netns: network namespaces need root; run it as root"):
        netns.check("--netns")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Refused, match="install iproute2"):
        netns.check("--netns")


def test_a_ray_of_somebody_else_has_no_namespaces_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(Refused, match=r"--netns: .*; leave out RAY_ADDRESS"):
        prepare(
            "demo",
            speed=None,
            datasets=None,
            policy_option=None,
            ray_option=None,
            in_namespaces=True,
        )


def namespace(path: str) -> str:
    """Return what the kernel calls the namespace at ``path``."""
    return str(Path(path).readlink())


@pytest.fixture
def cables() -> Iterator[Cables]:
    """The network of two hosts, without anybody in it."""
    spec = HostSpec("", "c", "r", 1, 4, 2000.0, 8 << 30)
    hosts = [replace(spec, name=name) for name in ("cna-01", "cna-02")]
    layout = Layout(
        vrm=Pinned("vrm", 17000, 17001),
        arrays=(),
        gateway=None,
        bmc_port=17002,
        arbiter_port=17003,
        launcher_metrics_port=17006,
        chassis=tuple(Chassis(host.name, (host,), 17004, 17005, packed=False) for host in hosts),
    )
    try:
        cables = Cables(layout, "--netns")
    except FusionError as error:
        pytest.skip(str(error))
    yield cables
    for path in cables.cabling.namespaces.values():
        os.close(int(path.rpartition("/")[2]))


def test_a_cable_that_is_pulled_out_carries_nothing_until_it_is_plugged_in(cables: Cables) -> None:
    cabling, machine = cables.cabling, namespace(netns.OF_THE_MACHINE)

    def reached(host: str) -> bool:
        host_address, vrm_address = cabling.address_of(host), cabling.address_of("vrm")
        with cabling.at(host_address), socket.socket() as caller:
            caller.settimeout(0.3)
            ip, _, port = vrm_address.rpartition(":")
            return caller.connect_ex((ip, int(port))) == 0

    with cabling.at(cabling.address_of("vrm")), socket.socket() as server:
        ip, _, port = cabling.address_of("vrm").rpartition(":")
        server.bind((ip, int(port)))
        server.listen()
        assert reached("cna-01")
        assert reached("cna-02")
        first, second = (
            WrittenFault(f"fault-{n}", cut(host, peers=("vrm", "arbiter", other)), None)
            for n, (host, other) in enumerate((("cna-01", "cna-02"), ("cna-02", "cna-01")))
        )
        partial = WrittenFault("fault-2", cut("cna-02", peers=("vrm",)), None)
        assert cables.suffer([first, partial]) == [first]
        assert not reached("cna-01")
        assert reached("cna-02")
        assert cables.suffer([second]) == [second]
        assert not reached("cna-02")
        eventually("the kernel has seen the plug", lambda: reached("cna-01"))
        assert cables.suffer([]) == []
        eventually("the kernel has seen the other", lambda: reached("cna-02"))
    assert namespace("/proc/thread-self/ns/net") == machine


def test_a_thread_stays_in_the_namespace_that_it_entered_with_those_it_starts(
    cables: Cables,
) -> None:
    seen: list[str] = []

    def look() -> None:
        seen.append(namespace("/proc/thread-self/ns/net"))

    def enter() -> None:
        cables.cabling.enter("cna-02")
        look()
        child = threading.Thread(target=look)
        child.start()
        child.join()

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    look()
    own = namespace(cables.cabling.namespaces["10.77.0.3"])
    assert seen == [own, own, namespace(netns.OF_THE_MACHINE)]
    assert own != namespace(netns.OF_THE_MACHINE)


def test_what_ip_refuses_is_told(cables: Cables) -> None:
    with pytest.raises(FusionError, match=r"ip\(8\) cannot 'link set port9 down'"):
        netns.ip(cables.cabling.namespaces["10.77.0.1"], ["link set port9 down"])
