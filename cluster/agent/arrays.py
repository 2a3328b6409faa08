"""The storage arrays as hosts reach them."""

from __future__ import annotations

import grpc

from cluster.network import Network, Plane
from cluster.rpc.v1 import storage_pb2_grpc


class Arrays:
    """Stubs of arrays by name, on the storage plane."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._stubs: dict[str, tuple[grpc.aio.Channel, storage_pb2_grpc.StorageArrayStub]] = {}

    def __getitem__(self, array: str) -> storage_pb2_grpc.StorageArrayStub:
        # The channel is asked for anew every time, for an array that moved; stubs are dear to make.
        channel = self._network.channel(array, Plane.STORAGE)
        known = self._stubs.get(array)
        if known is None or known[0] is not channel:
            known = self._stubs[array] = channel, storage_pb2_grpc.StorageArrayStub(channel)
        return known[1]
