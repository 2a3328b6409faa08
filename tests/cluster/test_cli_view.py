"""What the live view draws, on terminals of every size."""

from __future__ import annotations

import time
from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from cluster.cli.launch_display import LaunchDisplay
from cluster.cli.live_feed import Picture
from cluster.cli.live_view import frame
from cluster.cli.rows import event_row
from cluster.live.progress import Progress, Step
from cluster.rpc.convert import HOST_STATES
from cluster.rpc.v1 import vrm_pb2 as vrm
from fusion.host import HostState
from tests.cluster.cli_vrm import a_host


def a_picture(hosts: int, clusters: int = 1, events: int = 30) -> Picture:
    picture = Picture(
        observers={},
        datacenter="demo",
        speed=60.0,
        launched_at=time.time() - 10.0,
        vrm_address="127.0.0.1:17000",
        discovery_url="http://127.0.0.1:17001/discovery",
    )
    picture.hosts = [
        a_host(f"cna-{number:03d}", used_mhz=36_400.0 * (number % 100) / 100)
        for number in range(1, hosts + 1)
    ]
    picture.clusters = [
        vrm.Cluster(
            name=f"cluster-with-a-long-name-{number}",
            hosts=hosts,
            hosts_normal=max(0, hosts - number),
            cpu_capacity_mhz=36_400_000,
            cpu_used_mhz=30_000_000,
            memory_bytes=1 << 47,
            memory_used_bytes=1 << 46,
        )
        for number in range(clusters)
    ]
    picture.vm_states = {"running": 9_980, "starting": 15, "unknown": 5}
    for number in range(1, events + 1):
        message = f"event {number} on host cna-001 " + "and on " * number
        picture.events.append(event_row(vrm.Event(number=number, time_s=number, message=message)))
    return picture


def lines_of(picture: Picture, width: int, height: int, *, ascii_only: bool = False) -> list[str]:
    """What a terminal of that size shows."""
    console = Console(width=width, height=height, file=StringIO(), force_terminal=True)
    with console.capture() as captured:
        console.print(frame(picture, width, height, ascii_only=ascii_only), end="")
    return Text.from_ansi(captured.get()).plain.split("\n")


@pytest.mark.parametrize(
    ("width", "height"), [(80, 24), (80, 50), (100, 30), (200, 60), (320, 100), (60, 15), (40, 8)]
)
@pytest.mark.parametrize("hosts", [0, 1, 8, 30, 1000])
@pytest.mark.parametrize("clusters", [0, 1, 7])
def test_it_fits_the_terminal(width: int, height: int, hosts: int, clusters: int) -> None:
    lines = lines_of(a_picture(hosts, clusters), width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    assert lines[0].startswith(" demo ")
    assert "Ctrl-C" in lines[-1]


def test_all_of_a_small_datacenter_is_there_in_its_order() -> None:
    lines = lines_of(a_picture(8), 80, 24)
    hosts = [line.split()[0] for line in lines if line.startswith(" cna-")]
    assert hosts == [f"cna-{number:03d}" for number in range(1, 9)]
    assert not any("more" in line for line in lines)
    assert "VMs  10000: 9980 running · 15 starting · 5 unknown" in lines[5]


def test_the_latest_events_are_shown_in_their_order() -> None:
    lines = lines_of(a_picture(8), 80, 24)
    shown = [int(line.split()[2]) for line in lines if " event " in line]
    assert shown == sorted(shown)
    assert shown[-1] == 30
    assert len(shown) >= 3


def test_of_many_the_troubled_come_first_then_the_busy_and_the_rest_is_counted() -> None:
    picture = a_picture(1000)
    picture.hosts[499].state = HOST_STATES[HostState.DISCONNECTED]
    lines = lines_of(picture, 80, 24)
    hosts = [line.split() for line in lines if line.startswith(" cna-")]
    assert hosts[0][:2] == ["cna-500", "disconnected"]
    assert hosts[1][0] == "cna-099"  # 99 % busy, and the first such by name
    rest = next(line for line in lines if "more" in line)
    assert f"and {1000 - len(hosts)} more" in rest


def test_a_wide_terminal_shows_hosts_side_by_side() -> None:
    narrow = sum(line.count(" normal") for line in lines_of(a_picture(1000), 80, 40))
    wide = sum(line.count(" normal") for line in lines_of(a_picture(1000), 240, 40))
    assert wide > 2 * narrow


def test_bars_are_as_long_as_the_load() -> None:
    picture = a_picture(3)
    for host, share in zip(picture.hosts, (0.0, 0.5, 1.0), strict=True):
        host.cpu_used_mhz = share * host.cpu_capacity_mhz
        host.memory_used_bytes = 0
    lines = [line for line in lines_of(picture, 80, 24) if line.startswith(" cna-")]
    filled = [line.count("━") for line in lines]
    assert filled[0] == 0
    assert filled[2] == 2 * filled[1] > 0


def test_a_terminal_without_unicode_gets_plain_bars() -> None:
    text = "\n".join(lines_of(a_picture(8), 80, 24, ascii_only=True))
    assert "━" not in text
    assert "#" in text


def test_a_silent_vrm_is_said_to_be() -> None:
    picture = a_picture(8)
    picture.heard_at -= 12.0
    assert "the VRM has not answered for 12 s" in lines_of(picture, 80, 24)[-1]


def test_the_steps_of_a_launch_are_shown_as_they_come() -> None:
    console = Console(file=StringIO(), width=80)
    display = LaunchDisplay(console)
    with display:
        for progress in (
            Progress(Step.RAY, 0, 1, "starting Ray"),
            Progress(Step.RAY, 1, 1),
            Progress(Step.HOSTS, 3, 8),
        ):
            display.update(progress)
        console.print(display.render())
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    assert "Ray: starting Ray" in shown
    grid = [line for line in shown.splitlines() if not line.startswith("[")]
    assert grid[0].startswith("✓ Ray")
    assert grid[1].startswith("✓ VRM")  # what comes later means that it is done
    assert "3/8" in grid[2]
    assert grid[3].strip() == "VMs"


def test_one_host_and_no_vms_are_counted_too() -> None:
    file = StringIO()
    display = LaunchDisplay(Console(file=file, width=80))
    display.update(Progress(Step.VRM, 1, 1, "the VRM answers"))
    display.update(Progress(Step.HOSTS, 1, 1))
    display.update(Progress(Step.VMS, 0, 0))
    shown = [line.split("] ")[1] for line in file.getvalue().splitlines()]
    assert shown == ["VRM: the VRM answers", "hosts 1/1", "VMs 0/0"]


def test_what_did_not_come_up_is_kept_for_a_warning() -> None:
    display = LaunchDisplay(Console(file=StringIO()))
    display.update(Progress(Step.VMS, 9, 10))
    display.update(Progress(Step.UP, 1, 1, "no host fits web-10"))
    assert display.shortfall == "no host fits web-10"
    complete = LaunchDisplay(Console(file=StringIO()))
    complete.update(Progress(Step.VMS, 10, 10))
    complete.update(Progress(Step.UP, 1, 1, "up after 3 s"))
    assert complete.shortfall == ""
