"""The array that decides who has a VM: it is asked until it answers."""

from __future__ import annotations

import grpc
import structlog

from cluster.agent.arrays import Arrays
from cluster.clock import Clock
from cluster.rpc.v1 import storage_pb2
from fusion.vm import vm_id

log = structlog.get_logger()

#: The pause before an array is asked again, as a share of the time that it had to answer.
RETRY_GAP = 0.125


async def handed_over(
    arrays: Arrays,
    home: str,
    request: storage_pb2.HandOverRequest,
    *,
    time_limit_s: float,
    clock: Clock,
) -> tuple[storage_pb2.HandOverReply, float]:
    """Have array ``home`` decide on ``request``; return its reply, and when it was asked for that.

    What was asked and not heard may have been granted, and is granted again: so whoever asks goes
    on until there is an answer, each time for ``time_limit_s``.
    """
    while True:
        sent_s = clock.now()
        try:
            reply = await arrays[home].HandOver(request, timeout=time_limit_s)
        except grpc.aio.AioRpcError as failure:
            log.warning(
                "hand-over unanswered",
                vm=vm_id(request.vm_number),
                host=request.host,
                array=home,
                code=failure.code().name,
            )
            await clock.sleep(RETRY_GAP * time_limit_s)
        else:
            return reply, sent_s
