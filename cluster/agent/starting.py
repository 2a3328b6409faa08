"""A host starts VMs: their volumes first, then their domains."""

from __future__ import annotations

import math
from collections.abc import Sequence

import structlog

from cluster.agent.chassis import Chassis
from cluster.agent.copies import Copies
from cluster.agent.holdings import Holding
from cluster.agent.membership import Membership
from cluster.agent.opening import Opened, Opening, Wanted
from cluster.agent.renewals import Renewals
from cluster.clock import Clock
from cluster.rpc.convert import vm_from_message
from cluster.rpc.v1 import agent_pb2 as pb
from cluster.rpc.v1 import common_pb2
from fusion.errors import FusionError, InvalidInput, Refused
from fusion.fleet import Fleet
from fusion.spec import VmSpec
from fusion.vm import vm_number

log = structlog.get_logger()


class Starting:
    """Carries out one ``StartVms``; each VM of it starts or is refused by itself."""

    def __init__(
        self,
        *,
        chassis: Chassis,
        copies: Copies,
        opening: Opening,
        renewals: Renewals,
        membership: Membership,
        clock: Clock,
    ) -> None:
        self._chassis = chassis
        self._copies = copies
        self._opening = opening
        self._renewals = renewals
        self._membership = membership
        self._clock = clock

    async def start(self, command: pb.Command, domains: Sequence[pb.Domain]) -> pb.StartVmsReply:
        """Open volumes, then make domains."""
        host, reply = command.host, pb.StartVmsReply()
        asked = [(domain, _wanted(domain)) for domain in domains]
        opened = await self._open(command, [one for _, one in asked if isinstance(one, Wanted)])
        with self._chassis.change() as fleet:
            for domain, one in asked:
                try:
                    if isinstance(one, FusionError):
                        raise one
                    if one.vm in opened.refused:
                        raise Refused(f"VM {domain.vm} cannot start: {opened.refused[one.vm]}")
                    self._make(fleet, host, one, domain.seed, opened.until_s[one.vm])
                except FusionError as refusal:
                    reply.refusals.add(vm=domain.vm, reason=str(refusal))
                    log.warning(
                        "VM start refused",
                        host=host,
                        vm=domain.vm,
                        name=domain.spec.name,
                        reason=str(refusal),
                    )
        self._renewals.watch()
        return reply

    async def _open(self, command: pb.Command, wanted: Sequence[Wanted]) -> Opened:
        """Open the volumes of ``wanted``, of which copies of earlier epochs are void.

        Without arrays there is nothing to open, and what runs is left alone.
        """
        host = command.host
        if self._opening.needed:
            for one in wanted:
                copy = self._copies.of(host, one.vm)
                if copy is not None and copy.epoch < one.epoch:
                    self._copies.discard([copy], f"it is to start at epoch {one.epoch}")
        opened = await self._opening.open(host, command.incarnation, wanted)
        if self._opening.needed:
            # The VRM may have given the host up meanwhile: then it ordered this in vain.
            self._membership.admit(host, command.incarnation, command.session)
        return opened

    def _make(
        self, fleet: Fleet, host: str, one: Wanted, seed: int, until_s: dict[str, float]
    ) -> None:
        holding = Holding(host, one.vm, one.spec.name, one.epoch, one.spec.volumes, until_s=until_s)
        if not holding.leased(now_s := self._clock.now()):
            arrays = " and ".join(holding.ended(now_s))
            raise Refused(f"{holding} cannot start: its lease on {arrays} ended before it did")
        fleet.start(host, one.vm, one.spec, seed)
        self._copies.take(holding)


def _wanted(domain: pb.Domain) -> Wanted | FusionError:
    try:
        return Wanted(number_of(domain.vm), domain.epoch, spec_of(domain.vm, domain.spec))
    except FusionError as error:
        return error


def number_of(vm: str) -> int:
    """Return the number in a VM's identity; raises ``InvalidInput``."""
    try:
        return vm_number(vm)
    except ValueError as error:
        raise InvalidInput(f"vm: {error}") from error


def spec_of(vm: str, message: common_pb2.VmSpec) -> VmSpec:
    """Return what VM ``vm`` is to be; the model computes with it, so what is absurd ends here.

    Raises ``InvalidInput``.
    """
    try:
        spec = vm_from_message(message)
    except ValueError as error:
        raise InvalidInput(f"spec of VM {vm}: {error}") from error
    if spec.vcpus < 1 or not 0 < spec.vcpu_mhz < math.inf:
        raise InvalidInput(
            f"spec of VM {vm}: {spec.vcpus} vCPUs of {spec.vcpu_mhz:g} MHz are no processors"
        )
    if not (0 <= spec.boot_s < math.inf and 0 <= spec.shutdown_s < math.inf):
        raise InvalidInput(
            f"spec of VM {vm}: boot {spec.boot_s:g} s, shutdown {spec.shutdown_s:g} s; "
            "times are finite and not negative"
        )
    return spec
