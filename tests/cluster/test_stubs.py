"""Stubs are made once a channel, and a peer that moved gets a new one."""

from __future__ import annotations

from typing import cast

import grpc

from cluster.network import Network, Plane, Stubs


class Stub:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel


class Channels:
    """Hands out one channel to each peer and plane, and another after it moved."""

    def __init__(self) -> None:
        self._channels: dict[tuple[str, Plane], grpc.aio.Channel] = {}

    def channel(self, peer: str, plane: Plane = Plane.MANAGEMENT) -> grpc.aio.Channel:
        return self._channels.setdefault((peer, plane), cast(grpc.aio.Channel, object()))

    def move(self) -> None:
        self._channels.clear()


def test_a_stub_is_kept_while_its_channel_is_the_same() -> None:
    network = Channels()
    stubs = Stubs(cast(Network, network), Stub, Plane.STORAGE)
    first = stubs["san-1"]
    assert first.channel is network.channel("san-1", Plane.STORAGE)
    assert stubs["san-1"] is first
    assert stubs["san-2"] is not first
    network.move()
    moved = stubs["san-1"]
    assert moved is not first
    assert moved.channel is network.channel("san-1", Plane.STORAGE)


def test_a_plane_that_is_not_named_is_that_of_management() -> None:
    network = Channels()
    assert Stubs(cast(Network, network), Stub)["cna-01"].channel is network.channel("cna-01")
