"""From the statistics of faults to a schedule, by the seed alone: nothing depends on the run.

Each host, the VRM, each array and each VM draws from streams of its own, one a kind of fault, so
that adding a host changes nothing of what befalls the others. Each episode takes the same number of
values from its stream whatever the shares are, so that changing a share moves no instant.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from fusion.errors import InvalidInput
from fusion.faults.distributions import Duration
from fusion.faults.plan import (
    Bandwidth,
    Between,
    FaultPlan,
    Flapping,
    LossyLink,
    NetworkFault,
    SlowLink,
)
from fusion.faults.schedule import (
    Cut,
    Direction,
    Fault,
    FaultKind,
    Filled,
    Flap,
    Impaired,
    Load,
    MemoryHog,
    Narrow,
    Offset,
    Parameters,
    Schedule,
    Stolen,
    in_order,
)
from fusion.seeds import derive, generator

if TYPE_CHECKING:
    from fusion.spec import Datacenter

VRM = "vrm"
GATEWAY = "gateway"

#: What one entity may go through in a run; a plan that asks for more is a slip of the unit.
MOST_PER_ENTITY = 10_000

#: Places of each host on the ring from which the other ends of links are picked.
PLACES = 16


@dataclass(frozen=True, slots=True)
class _Episode:
    """One fault of one entity: when, how long, and numbers in [0, 1) that decide the rest."""

    at_s: float
    lasts_s: float
    chances: tuple[float, ...]


def draw(plan: FaultPlan, datacenter: Datacenter, for_s: float, seed: int) -> Schedule:
    """Return what ``plan`` and ``seed`` bring upon ``datacenter`` in a run of ``for_s``.

    All faults end before the last ``heal_s`` begin. Raises ``InvalidInput`` where a kind comes so
    often that no run could carry it.
    """
    drawing = _Drawing(plan, datacenter, max(0.0, for_s - plan.heal_s), seed)
    return in_order(
        [
            *drawing.host_faults(),
            *drawing.vrm_faults(),
            *drawing.array_faults(),
            *drawing.network_faults(),
            *drawing.vm_faults(),
            *drawing.datastore_faults(),
        ]
    )


class _Drawing:
    def __init__(self, plan: FaultPlan, datacenter: Datacenter, end_s: float, seed: int) -> None:
        self._plan = plan
        self._end_s = end_s
        self._seed = seed
        self._vms = [planned.spec for planned in datacenter.vms]
        self._rack_of = {host.name: host.rack for host in datacenter.hosts}
        self._ring = _Ring(list(self._rack_of))
        self._arrays = [array.name for array in datacenter.arrays]
        self._datastores = [store.name for array in datacenter.arrays for store in array.datastores]
        self._gateway = bool(datacenter.clients)

    def host_faults(self) -> Iterator[Fault]:
        crash, hang = self._plan.host_crash, self._plan.host_hang
        for host in self._rack_of:
            if crash is not None:
                kind = FaultKind.HOST_CRASH
                for each in self._episodes(kind, host, crash.after, crash.lasts):
                    targets = self._rack(host) if each.chances[0] < crash.rack_share else (host,)
                    yield Fault(kind, each.at_s, each.lasts_s, targets)
            if hang is not None:
                yield from self._alone(FaultKind.HOST_HANG, host, hang.after, hang.lasts)
            yield from self._milder(host)

    def _milder(self, host: str) -> Iterator[Fault]:
        """Yield what leaves ``host`` up, or brings it back at once."""
        reboot, slow, clock = self._plan.reboot, self._plan.slow_host, self._plan.clock_offset
        if reboot is not None:
            yield from self._alone(FaultKind.REBOOT, host, reboot.after, None)
        if slow is not None:
            stolen = Stolen(percent=slow.percent)
            yield from self._alone(FaultKind.SLOW_HOST, host, slow.after, slow.lasts, stolen)
        if clock is not None:
            kind = FaultKind.CLOCK_OFFSET
            for each in self._episodes(kind, host, clock.after, clock.lasts):
                offset_s = clock.offset_s * (1 if each.chances[0] < 0.5 else -1)
                what = Offset(offset_s=offset_s)
                yield Fault(kind, each.at_s, each.lasts_s, (host,), what)

    def vrm_faults(self) -> Iterator[Fault]:
        crash = self._plan.vrm_crash
        if crash is not None:
            yield from self._alone(FaultKind.VRM_CRASH, VRM, crash.after, crash.lasts)

    def array_faults(self) -> Iterator[Fault]:
        crash, hang = self._plan.array_crash, self._plan.array_hang
        for array in self._arrays:
            if crash is not None:
                yield from self._alone(FaultKind.ARRAY_CRASH, array, crash.after, crash.lasts)
            if hang is not None:
                yield from self._alone(FaultKind.ARRAY_HANG, array, hang.after, hang.lasts)

    def datastore_faults(self) -> Iterator[Fault]:
        full, kind = self._plan.full_datastore, FaultKind.FULL_DATASTORE
        if full is not None:
            filled = Filled(percent=full.percent)
            for name in self._datastores:
                yield from self._alone(kind, name, full.after, full.lasts, filled)

    def network_faults(self) -> Iterator[Fault]:
        faults: Sequence[tuple[FaultKind, NetworkFault | None]] = (
            (FaultKind.PARTITION, self._plan.partition),
            (FaultKind.SLOW_LINK, self._plan.slow_link),
            (FaultKind.LOSSY_LINK, self._plan.lossy_link),
            (FaultKind.BANDWIDTH, self._plan.bandwidth),
            (FaultKind.FLAPPING, self._plan.flapping),
        )
        for kind, fault in faults:
            for host in self._rack_of if fault is not None else ():
                assert fault is not None
                for each in self._episodes(kind, host, fault.after, fault.lasts):
                    targets, peers = self._ends(fault, host, each.chances)
                    if peers:
                        what = _impairment(fault, peers, _direction(fault, each.chances[2]))
                        yield Fault(kind, each.at_s, each.lasts_s, targets, what)

    def vm_faults(self) -> Iterator[Fault]:
        crash, burst = self._plan.guest_crash, self._plan.load_burst
        hog = self._plan.guest_memory_hog
        for vm in self._vms:
            if crash is not None:
                kind = FaultKind.GUEST_CRASH
                yield from self._alone(kind, vm.name, crash.after, None, always_s=vm.boot_s)
            if burst is not None:
                kind, load = FaultKind.LOAD_BURST, Load(percent=burst.percent)
                yield from self._alone(kind, vm.name, burst.after, burst.lasts, load)
            if hog is not None:
                kind, writes = FaultKind.GUEST_MEMORY_HOG, MemoryHog(rate_bytes_s=hog.rate_bytes_s)
                yield from self._alone(kind, vm.name, hog.after, hog.lasts, writes)

    def _alone(
        self,
        kind: FaultKind,
        entity: str,
        after: Duration,
        lasts: Duration | None,
        parameters: Parameters = None,
        *,
        always_s: float = 0.0,
    ) -> Iterator[Fault]:
        """Yield the faults of one kind that befall ``entity`` and nobody else, all alike."""
        for each in self._episodes(kind, entity, after, lasts, always_s):
            yield Fault(kind, each.at_s, each.lasts_s, (entity,), parameters)

    def _episodes(
        self,
        kind: FaultKind,
        entity: str,
        after: Duration,
        lasts: Duration | None,
        always_s: float = 0.0,
    ) -> Iterator[_Episode]:
        """Yield what befalls ``entity``; each lasts as drawn, or without that ``always_s``."""
        rng = generator(self._seed, "faults", kind, entity)
        now_s = 0.0
        for _ in range(MOST_PER_ENTITY):
            now_s += after.draw(rng)
            if not now_s < self._end_s:
                return
            lasts_s = always_s if lasts is None else lasts.draw(rng)
            ends_s = min(now_s + lasts_s, self._end_s)
            chances = tuple(rng.random(4).tolist())
            # Milliseconds are enough, and easier to read.
            at_s = round(now_s, 3)
            yield _Episode(at_s, round(max(ends_s - at_s, 0.0), 3), chances)
            now_s = ends_s
        raise InvalidInput(
            f"faults.{kind}: more than {MOST_PER_ENTITY} in {self._end_s:g} s on {entity} alone; "
            "let them come less often, or run for less time"
        )

    def _ends(
        self, fault: NetworkFault, host: str, chances: Sequence[float]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the two ends of a fault of ``host``'s network, no peers where there are none."""
        between = fault.between[int(chances[0] * len(fault.between))]
        targets = self._rack(host) if chances[1] < fault.rack_share else (host,)
        match between:
            case Between.HOST_VRM:
                return targets, (VRM,)
            case Between.HOST_ARRAY:
                first = int(chances[3] * len(self._arrays))
                return targets, tuple(self._arrays[first : first + 1])
            case Between.HOST_GATEWAY:
                return targets, (GATEWAY,) if self._gateway else ()
        outside = tuple(name for name in self._rack_of if name not in targets)
        if len(targets) > 1 and outside:
            return targets, outside
        return (host,), self._ring.other(host, chances[3])

    def _rack(self, host: str) -> tuple[str, ...]:
        rack = self._rack_of[host]
        return tuple(name for name, its in self._rack_of.items() if its == rack)


class _Ring:
    """Hosts at places that follow from their names alone: a new one takes only its own share."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = len(hosts)
        self._places = _places(tuple(hosts))

    def other(self, host: str, place: float) -> tuple[str, ...]:
        """Return the first host behind ``place`` (from 0 to 1) that is not ``host``."""
        if self._hosts < 2:
            return ()
        at = bisect(self._places, (place, ""))
        turn = (self._places[(at + k) % len(self._places)][1] for k in range(len(self._places)))
        return (next(name for name in turn if name != host),)


@lru_cache(maxsize=4)
def _places(hosts: tuple[str, ...]) -> tuple[tuple[float, str], ...]:
    """Return where ``hosts`` are, in order: the same under every seed of a campaign."""
    return tuple(
        sorted(
            (derive(0, "ring", host, str(k)) / 2**64, host) for host in hosts for k in range(PLACES)
        )
    )


def _direction(fault: NetworkFault, chance: float) -> Direction:
    if chance >= fault.one_way_share:
        return Direction.BOTH
    return Direction.OUT if chance < fault.one_way_share / 2 else Direction.IN


def _impairment(fault: NetworkFault, peers: tuple[str, ...], direction: Direction) -> Parameters:
    match fault:
        case SlowLink():
            return Impaired(
                peers=peers,
                direction=direction,
                planes=fault.planes,
                latency_s=fault.latency_s,
                jitter_s=fault.jitter_s,
            )
        case LossyLink():
            return Impaired(
                peers=peers,
                direction=direction,
                planes=fault.planes,
                loss=fault.loss,
                duplication=fault.duplication,
            )
        case Bandwidth():
            return Narrow(
                peers=peers,
                direction=direction,
                planes=fault.planes,
                bandwidth_bps=fault.bandwidth_bps,
            )
        case Flapping():
            return Flap(
                peers=peers,
                direction=direction,
                planes=fault.planes,
                down_s=fault.down_s,
                up_s=fault.up_s,
            )
        case _:
            return Cut(peers=peers, direction=direction, planes=fault.planes)
