import pytest

from cluster.live import layout
from cluster.live.layout import lay_out
from fusion.errors import InvalidInput
from fusion.spec import ClusterSpec, Datacenter, HostSpec


@pytest.fixture(autouse=True)
def every_port_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(purposes: list[str], first: int | None, reserved: object) -> dict[str, int]:
        return {purpose: (first or 17000) + n for n, purpose in enumerate(purposes)}

    monkeypatch.setattr(layout, "choose", choose)


def datacenter(*names: str, hosts_per_actor: int = 1) -> Datacenter:
    hosts = tuple(HostSpec(name, "c", "r", 1, 4, 2000.0, 8 << 30) for name in names)
    return Datacenter("demo", (ClusterSpec("c"),), hosts, hosts_per_actor=hosts_per_actor)


def test_alone_a_host_is_its_process() -> None:
    found = lay_out(datacenter("a", "b"))
    assert [(one.name, one.port, one.metrics_port) for one in found.chassis] == [
        ("a", 17004, 17005),
        ("b", 17006, 17007),
    ]
    assert not found.chassis[0].packed
    assert sorted(found.ports) == list(range(17000, 17009))


def test_packed_hosts_are_cut_in_consecutive_groups() -> None:
    found = lay_out(datacenter("a", "b", "c", hosts_per_actor=2))
    assert [(one.name, [host.name for host in one.hosts]) for one in found.chassis] == [
        ("chassis-0", ["a", "b"]),
        ("chassis-1", ["c"]),
    ]
    assert all(one.packed for one in found.chassis)


@pytest.mark.parametrize("name", ["vrm", "bmc", "arbiter", "gateway", "launcher", "chassis-0"])
def test_names_of_other_parties_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{name}' is the name of another party"):
        lay_out(datacenter(name, hosts_per_actor=2))
