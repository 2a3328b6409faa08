"""What an order says about how a VM is to be migrated, on top of what its cluster is set to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.rpc import convert
from cluster.rpc.v1 import common_pb2
from fusion.errors import InvalidInput
from fusion.migration.settings import MigrationSettings
from fusion.policy.migration_checks import settings_fault


def settings_of(
    message: common_pb2.MigrationSettings, cluster: MigrationSettings
) -> MigrationSettings:
    """Return what ``message`` says, and of what it does not say what the ``cluster`` is set to.

    Raises ``InvalidInput``, naming the setting, where one can never work.
    """
    _check_choice("compression", message.compression, convert.COMPRESSION_OF)
    _check_choice("no_convergence", message.no_convergence, convert.NO_CONVERGENCE_OF)
    for name in ("per_host", "per_cluster"):
        if message.HasField(name):
            raise InvalidInput(
                f"settings.{name}: how many VMs migrate at once is a setting of clusters, not of "
                "one migration; leave it out"
            )
    settings = convert.migration_from_message(message, cluster)
    fault = settings_fault(settings)
    if fault:
        raise InvalidInput(f"settings: {fault}")
    return settings


def _check_choice(name: str, number: int, known: Mapping[Any, str]) -> None:
    """Zero says nothing; of what this version does not know, it is not to guess."""
    if number and number not in known:
        raise InvalidInput(
            f"settings.{name}: there is no choice {number}; there are: {', '.join(known.values())}"
        )
