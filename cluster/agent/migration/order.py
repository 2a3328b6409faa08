"""What the VRM orders of the source of a migration."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.agent.starting import number_of, spec_of
from cluster.rpc.convert import migration_from_message
from cluster.rpc.v1 import agent_pb2 as pb
from fusion.errors import InvalidInput
from fusion.migration.settings import MigrationSettings
from fusion.spec import VmSpec


@dataclass(frozen=True, slots=True)
class Order:
    """A VM that ``host`` has at ``epoch`` goes to ``destination``, if it comes to that at
    ``epoch_there``; at ``epoch_back`` the host takes it back where nobody knows if it did.
    """

    migration: str
    vm: int
    seed: int
    spec: VmSpec
    host: str
    incarnation: int
    epoch: int
    destination: str
    destination_incarnation: int
    epoch_there: int
    epoch_back: int
    settings: MigrationSettings

    @staticmethod
    def of(request: pb.MigrateVmRequest) -> Order:
        """Return what ``request`` orders. Raises ``InvalidInput`` where that makes no sense."""
        vm, domain, command = request.vm, request.domain, request.command
        settings = migration_from_message(request.settings, MigrationSettings())
        epochs = (domain.epoch, request.epoch_there, request.epoch_back)
        if not request.migration:
            raise InvalidInput("migration: empty; give each migration an identity of its own")
        if command.host == request.destination:
            raise InvalidInput(f"VM {vm} is on host {command.host}; migrate it to another one")
        if domain.vm != vm or not 0 < epochs[0] < epochs[1] < epochs[2]:
            raise InvalidInput(
                f"VM {vm}: the epochs at the source, at the destination and for taking it back "
                f"are {epochs[0]}, {epochs[1]} and {epochs[2]}; each has to be above the one before"
            )
        if settings.compression_threads < 1 or not settings.downtime_s > 0:
            raise InvalidInput(
                f"VM {vm}: {settings.compression_threads} threads and a downtime target of "
                f"{settings.downtime_s:g} s; give at least 1 and more than 0"
            )
        return Order(
            migration=request.migration,
            vm=number_of(vm),
            seed=domain.seed,
            spec=spec_of(vm, domain.spec),
            host=command.host,
            incarnation=command.incarnation,
            epoch=domain.epoch,
            destination=request.destination,
            destination_incarnation=request.destination_incarnation,
            epoch_there=request.epoch_there,
            epoch_back=request.epoch_back,
            settings=settings,
        )
