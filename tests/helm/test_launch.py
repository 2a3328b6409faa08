"""The launcher's pod begins only once all Ray nodes are there, and says what it waits for."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest

from cluster.live.launcher import _parser as launcher_parser
from fusion.errors import FusionError, Refused
from tests.helm.chart import container, pod_templates, rendered
from tests.helm.scripts import program

launch: Any = program("launch")


class FakeRay:
    """A Ray whose nodes join one look after the other."""

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts = list(counts)
        self.looks = 0
        self.left = False

    async def join(self, address: str, namespace: str, loopback_only: bool) -> None:
        assert (address, loopback_only) == ("10.0.0.1:6379", False)

    async def nodes(self) -> list[object]:
        count = self._counts[min(self.looks, len(self._counts) - 1)]
        self.looks += 1
        return [object()] * count

    async def leave(self) -> None:
        self.left = True


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "POLL_S", 0.0)


def wait_for(world: FakeRay, wanted: int, patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    asyncio.run(launch.until_joined(world, "10.0.0.1:6379", wanted, deadline))


def test_it_waits_for_every_node_and_lets_go_of_ray(capsys: pytest.CaptureFixture[str]) -> None:
    world = FakeRay([1, 1, 2, 3])
    wait_for(world, 3)
    assert world.looks == 4
    assert world.left
    assert capsys.readouterr().out.splitlines() == [
        "1 of 3 Ray nodes have joined",
        "2 of 3 Ray nodes have joined",
        "all 3 Ray nodes have joined",
    ]


def test_nodes_that_never_come_are_said() -> None:
    world = FakeRay([2])
    with pytest.raises(FusionError, match="2 of 3 Ray nodes joined in time; see why"):
        wait_for(world, 3, patience_s=-1.0)
    assert world.left


def test_a_head_that_never_answers_is_said() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Refused, match=f"no Ray cluster answers at {address}"):
            launch.until_answered(address, time.monotonic() - 1.0)


def test_it_becomes_fusion_up(monkeypatch: pytest.MonkeyPatch) -> None:
    one = container(pod_templates(rendered())["head"], "launcher")
    said = [word.replace("$(POD_IP)", "10.0.0.1") for word in one["args"]]
    become: list[list[str]] = []
    monkeypatch.setattr(sys, "argv", ["launch.py", *said])
    monkeypatch.setattr(launch, "until_answered", lambda *_: None)
    monkeypatch.setattr(launch, "RayWorld", lambda: FakeRay([3]))
    monkeypatch.setattr(os, "execvp", lambda _, command: become.append(command))
    launch.main()
    ((fusion, up, *rest),) = become
    assert (fusion, up) == ("fusion", "up")
    options = launcher_parser().parse_args(rest)  # what `fusion up` hands on
    assert options.source == "/etc/fusion/launch/datacenter.yaml"
    assert options.ray_address == "10.0.0.1:6379"
