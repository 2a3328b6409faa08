"""Whether the clusters of a datacenter can keep what they promise of failures."""

from __future__ import annotations

from cluster.datacenter_file.plan import Mistakes
from fusion.policy.admission import Load, Member, judge
from fusion.spec import AdmissionKind, Datacenter


def check_admission(datacenter: Datacenter, mistakes: Mistakes) -> None:
    """Add a mistake for every cluster whose VMs would not leave the room that it keeps free."""
    for index, cluster in enumerate(datacenter.clusters):
        if not cluster.ha or cluster.admission.kind is AdmissionKind.NONE:
            continue
        verdict = judge(
            cluster.admission,
            [Member.of(host) for host in datacenter.hosts if host.cluster == cluster.name],
            [
                Load.of(planned.spec)
                for planned in datacenter.vms
                if planned.start and planned.spec.cluster == cluster.name
            ],
        )
        if not verdict.admitted:
            mistakes.add(
                f"clusters[{index}].admission", f"the cluster {cluster.name} {verdict.why}"
            )
