"""Where a VM migrates of which nobody says where: of the hosts that pass, the policy's choice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion.policy.migration_checks import check_destination
from fusion.policy.migration_facts import HostFacts, VmFacts, snapshot_of
from fusion.policy.placement import Decision, Mask, PlacementPolicy, PlacementRequest
from fusion.spec import ClusterSpec, HostSpec

#: Of hosts that lack the same: more are only counted.
_NAMED = 3


def choose(
    vm: VmFacts,
    source: HostSpec,
    hosts: Sequence[HostFacts],
    cluster: ClusterSpec,
    policy: PlacementPolicy,
) -> Decision:
    """Return the best of ``hosts`` for ``vm``, or none and why; of itself the VM must be fit to
    migrate (``migration_checks.check_vm``).
    """
    passing = suitable(vm, source, hosts, cluster)
    if not passing.any():
        return Decision(None, why_nowhere(vm, source, hosts, cluster))
    return policy.place(PlacementRequest.of(vm.spec), snapshot_of(hosts, ~passing))


def suitable(
    vm: VmFacts, source: HostSpec, hosts: Sequence[HostFacts], cluster: ClusterSpec
) -> Mask:
    """Return which of ``hosts`` ``[H]`` pass every check for ``vm``."""
    return np.array(
        [
            all(check.passed for check in check_destination(vm, source, host, cluster))
            for host in hosts
        ],
        dtype=np.bool_,
    )


def why_nowhere(
    vm: VmFacts, source: HostSpec, hosts: Sequence[HostFacts], cluster: ClusterSpec
) -> str:
    """Return the sentence that says on which check each other host of the cluster fails first."""
    failing: dict[str, list[str]] = {}
    for host in hosts:
        if host.spec.cluster != cluster.name or host.spec.name == source.name:
            continue
        checks = check_destination(vm, source, host, cluster)
        failed = next((check.name for check in checks if not check.passed), "")
        failing.setdefault(failed, []).append(host.spec.name)
    if not failing:
        return f"cluster {cluster.name} has no other host for VM {vm.spec.name}; add one to it"
    whom = "; ".join(f"{name}: {_some(names)}" for name, names in failing.items())
    return (
        f"no other host of cluster {cluster.name} can take VM {vm.spec.name} ({whom}); "
        f"order it --to one of them with --dry-run to see why"
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
