"""The packaged scenarios say what they claim to."""

from cluster.datacenter_file import load, scenarios


def test_demo_is_small_and_varied() -> None:
    demo = load("demo")
    assert "demo" in scenarios()
    assert len(demo.hosts) == 8
    assert {host.rack for host in demo.hosts} == {"r1", "r2"}
    assert [cluster.name for cluster in demo.clusters] == ["production"]
    assert len(demo.vms) == 40
    assert len({type(vm.spec.workload) for vm in demo.vms}) >= 3
    assert any(vm.spec.cpu.reservation_mhz for vm in demo.vms)
    assert any(vm.spec.cpu.limit_mhz < vm.spec.cpu_mhz for vm in demo.vms)
