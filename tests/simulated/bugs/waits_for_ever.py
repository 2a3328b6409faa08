"""A task never ends if its host dies before the order was answered: nobody wakes who waits."""

import asyncio
from contextlib import AbstractContextManager
from typing import Any

from cluster.vrm.orders import Orders, Unanswered
from tests.simulated.bugs.replacing import replaced

SEEDS = 3
FIRST = 2


def _patient(true: Any) -> Any:
    async def call(orders: Orders, host: Any, method: Any, request: Any) -> Any:
        try:
            return await true(orders, host, method, request)
        except Unanswered:
            await asyncio.Event().wait()

    return call


def planted() -> AbstractContextManager[None]:
    return replaced(Orders, "_call", _patient)
