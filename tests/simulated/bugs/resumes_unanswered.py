"""A destination resumes the VM as soon as it has asked the array, which may refuse, for it."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, suppress
from typing import Any

from cluster.agent.migration.incoming import Incoming
from fusion.errors import FusionError
from fusion.faults.distributions import Exponential, LogNormal
from fusion.faults.plan import Between, FaultPlan, SlowLink
from tests.simulated.bugs.replacing import replaced
from tests.simulated.migration_trial import migrating_datacenter

SEEDS = 12
FIRST = 2
DATACENTER, AIMED = migrating_datacenter, True
GAP_S, KINDS = 0.4, {"migrate": 1}

#: What hosts ask of arrays comes so late that a source may have given its destination up.
PLAN = FaultPlan(
    slow_link=SlowLink(
        after=Exponential(5.0),
        lasts=LogNormal(10.0, 0.5),
        between=(Between.HOST_ARRAY,),
        planes=("storage",),
        one_way_share=1.0,
        latency_s=2.5,
        jitter_s=1.0,
    ),
    heal_s=0.0,
)


def _confident(true: Callable[..., Coroutine[Any, Any, float]]) -> Any:
    async def ask(incoming: Incoming) -> None:
        with suppress(FusionError):
            await true(incoming)

    async def hand_over(incoming: Incoming) -> float:
        incoming._spawn(ask(incoming))
        return incoming._clock.now() + incoming._facilities.surroundings.lease_s

    return hand_over


def planted() -> AbstractContextManager[None]:
    return replaced(Incoming, "_hand_over", _confident)
