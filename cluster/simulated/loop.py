"""A virtual-time asyncio event loop: one thread, time jumps to the next timer.

What makes a run repeatable: timers of one instant fire in the order in which they were set; there
are no sockets, signals, threads or executors; garbage is collected at fixed steps; an exception
that a callback or a forgotten task raised fails the run instead of being logged.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

#: Callbacks between two collections of garbage.
COLLECT_EVERY = 100_000


class RunFailed(Exception):
    """A callback or a task of the simulated world raised what nobody handled."""


class Stuck(Exception):
    """Nothing is left that could ever happen, and the awaited result has not come."""


class Party:
    """Whose code runs: one incarnation of a role, the unit that crashes and hangs.

    Tasks and callbacks belong to the party in whose context they were made.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.frozen = False
        self.dead = False
        self.backlog: deque[asyncio.Handle] = deque()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._prune_at = 64

    def __repr__(self) -> str:
        return f"<party {self.name}>"

    def owns(self, task: asyncio.Task[Any]) -> None:
        """Keep ``task`` referenced until it is done."""
        self._tasks[task] = None
        if len(self._tasks) >= self._prune_at:
            self._tasks = {task: None for task in self._tasks if not task.done()}
            self._prune_at = max(64, 2 * len(self._tasks))
        if self.dead:  # made by a task that is ending: it ends too, and nobody is told
            task.add_done_callback(forget_outcome)
            task.cancel()

    def open_tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are not done, in the order of their making."""
        return [task for task in self._tasks if not task.done()]


def forget_outcome(task: asyncio.Task[Any]) -> None:
    """Take note of how a dead party's task ended, so that nothing reports it."""
    if not task.cancelled():
        task.exception()


#: The party in whose name the present code runs.
PARTY: ContextVar[Party | None] = ContextVar("party", default=None)


class VirtualLoop(asyncio.AbstractEventLoop):
    """An event loop whose clock is ``now_s``, emulated seconds since its making."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.callbacks = 0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._sequence = 0
        self._cancelled_timers = 0
        self._running = False
        self._stopping = False
        self._closed = False
        self._failure: BaseException | None = None
        self._frozen = 0

    # --- time and callbacks

    def time(self) -> float:
        return self.now_s

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._sequence += 1
        heapq.heappush(self._timers, (when, self._sequence, handle))
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._cancelled_timers += 1
        if self._cancelled_timers > 200 and 2 * self._cancelled_timers > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapq.heapify(self._timers)
            self._cancelled_timers = 0

    # --- tasks

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        party = PARTY.get() if context is None else context.get(PARTY)
        if party is not None:
            party.owns(task)
        return task

    # --- running

    def run_until_complete(self, future: Any) -> Any:
        task = asyncio.ensure_future(future, loop=self)
        task.add_done_callback(self._stop_at)
        self._run()
        if not task.done():
            task.cancel()
            self._raise_failure()
            raise Stuck(f"at {self.now_s:.3f} s nothing is left to happen, and {task} is not done")
        self._raise_failure()
        return task.result()

    def run_until(self, instant_s: float) -> None:
        """Run until the clock stands at ``instant_s``, or something failed."""
        self.call_at(instant_s, self.stop)
        self._run()
        self._raise_failure()

    def drain(self) -> None:
        """Run what is ready, without letting time pass: tasks that were cancelled end."""
        self.call_at(self.now_s, self.stop)
        self._run()
        self._failure = None

    def stop(self) -> None:
        self._stopping = True

    def _stop_at(self, _: object) -> None:
        self._stopping = True

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _run(self) -> None:
        if self._running:
            raise RuntimeError("the loop is running already")
        hooks = sys.get_asyncgen_hooks()
        collecting = gc.isenabled()
        gc.disable()
        self._running, self._stopping = True, False
        sys.set_asyncgen_hooks(finalizer=self._finalise)
        asyncio._set_running_loop(self)
        try:
            self._turn()
        finally:
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)
            self._running = False
            if collecting:
                gc.enable()

    def _turn(self) -> None:
        ready = self._ready
        while not self._stopping:
            if ready:
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                if self._frozen and self._put_aside(handle):
                    continue
                handle._run()
                self.callbacks += 1
                if not self.callbacks % COLLECT_EVERY:
                    gc.collect(1)
                continue
            timers = self._timers
            while timers and timers[0][2]._cancelled:
                heapq.heappop(timers)
                self._cancelled_timers -= 1
            if not timers:
                return
            when = timers[0][0]
            self.now_s = max(self.now_s, when)
            while timers and timers[0][0] <= self.now_s:
                ready.append(heapq.heappop(timers)[2])

    # --- parties

    def freeze(self, party: Party) -> None:
        """Let nothing of ``party`` run until it is thawed; what falls due is put aside."""
        if not party.frozen:
            party.frozen = True
            self._frozen += 1

    def thaw(self, party: Party) -> None:
        """Let ``party`` go on, with everything that fell due meanwhile, in order."""
        if party.frozen:
            party.frozen = False
            self._frozen -= 1
            self._ready.extend(party.backlog)
            party.backlog.clear()

    def _put_aside(self, handle: asyncio.Handle) -> bool:
        party = handle._context.get(PARTY)  # type: ignore[attr-defined]
        if party is None or not party.frozen:
            return False
        party.backlog.append(handle)
        return True

    # --- failures

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        failure = RunFailed(f"at {self.now_s:.3f} s: {context.get('message')}: {error!r}")
        failure.__cause__ = error
        self.fail(failure)

    def fail(self, failure: BaseException) -> None:
        """End the run with ``failure``; the first one counts."""
        if self._failure is None:
            self._failure = failure
        self._stopping = True

    def _finalise(self, generator: AsyncGenerator[Any, Any]) -> None:
        self.create_task(generator.aclose())

    # --- what an event loop is asked for besides

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: generators are closed as they are dropped."""

    async def shutdown_default_executor(self) -> None:
        """Nothing to do: there is none."""

    def call_soon_threadsafe(self, *_: Any, **__: Any) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("the simulated world has one thread; nothing may call in from another")

    def run_in_executor(self, *_: Any) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("the simulated world has no threads; do the work in the loop")
