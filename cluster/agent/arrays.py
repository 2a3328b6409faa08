"""The storage arrays as hosts reach them."""

from __future__ import annotations

from cluster.network import Network, Plane, Stubs
from cluster.rpc.v1.storage_pb2_grpc import StorageArrayStub


class Arrays(Stubs[StorageArrayStub]):
    """Stubs of arrays by name, on the storage plane."""

    def __init__(self, network: Network) -> None:
        super().__init__(network, StorageArrayStub, Plane.STORAGE)
