import pytest

from cluster.live.call_time import check_lease, measured_p99_s
from cluster.live.layout import lay_out
from fusion.errors import InvalidInput
from fusion.spec import ClusterSpec, Datacenter, HostSpec


def test_calls_are_measured_on_the_port_that_is_given_and_leave_it_free() -> None:
    hosts = (HostSpec("a", "c", "r", 1, 4, 2000.0, 8 << 30),)
    port = lay_out(Datacenter("demo", (ClusterSpec("c"),), hosts)).arbiter_port
    assert 0 < measured_p99_s(port) < 10
    assert 0 < measured_p99_s(port) < 10


def test_a_lease_outlasts_twenty_of_the_slowest_calls() -> None:
    check_lease(lease_s=9.0, speed=4.0, p99_s=0.1)
    with pytest.raises(InvalidInput, match=r"a speed up to 4\.5 would do") as refused:
        check_lease(lease_s=9.0, speed=5.0, p99_s=0.1)
    assert str(refused.value).startswith("speed: 5 makes a lease of 9s last 1.8 s of wall time")
