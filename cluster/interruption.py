"""A block of one task that may be left from outside, with a reason."""

from __future__ import annotations

import asyncio
from types import TracebackType

from fusion.errors import FusionError


class Interruption:
    """``with interruption:`` raises the error of ``interrupt`` where the block awaits something.

    It is entered once, and raises at once where it was interrupted before that.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._error: FusionError | None = None

    def interrupt(self, error: FusionError) -> None:
        """Leave the block; nothing happens where that is under way, or it has been left."""
        if self._error is None:
            self._error = error
            if self._task is not None:
                self._task.cancel()

    def __enter__(self) -> None:
        if self._error is not None:
            raise self._error
        self._task = asyncio.current_task()
        assert self._task is not None, "only a task can be interrupted"
        self._cancelling = self._task.cancelling()

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._error is None or task is None:
            return
        # Somebody else may have cancelled the task as well: then that is what ends the block.
        alone = task.uncancel() <= self._cancelling
        if alone and (kind is None or kind is asyncio.CancelledError):
            raise self._error
