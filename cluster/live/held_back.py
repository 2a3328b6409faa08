"""Processes that Ray restarts at once, held back while the fault lasts that killed them."""

from __future__ import annotations

import time

import structlog

from cluster.live.fault_book import FaultBook
from cluster.live.fault_watch import LOOK_S
from fusion.errors import FusionError
from fusion.faults.schedule import FaultKind

log = structlog.get_logger()

#: What strikes a process that Ray restarts.
_DEADLY = (FaultKind.VRM_CRASH, FaultKind.ARRAY_CRASH, FaultKind.GATEWAY_CRASH)


def hold_back(book: FaultBook, name: str) -> None:
    """Return once no fault wants the process of ``name`` to be dead; it serves nobody before."""
    told = False
    while _is_dead(book, name):
        if not told:
            log.warning("held back until a fault ends")
            told = True
        time.sleep(LOOK_S)


def _is_dead(book: FaultBook, name: str) -> bool:
    try:
        written = book.faults()
    except FusionError as damage:
        log.error("faults cannot be read; none holds this process back", reason=str(damage))
        return False
    return any(
        each.fault.kind in _DEADLY and name in each.fault.targets and not each.over
        for each in written
    )
