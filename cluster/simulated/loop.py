"""A virtual-time asyncio event loop: one thread, time jumps to the next timer.

What makes a run repeatable: timers of one instant fire in the order in which they were set; there
are no sockets, signals, threads or executors, and real clocks are refused (``guard``); garbage is
collected at fixed steps; an exception that a callback or a forgotten task raised fails the run
instead of being logged.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from contextvars import Context, copy_context
from heapq import heappop, heappush
from typing import Any, NoReturn, TypeVar, final

from cluster.simulated.guard import Guard
from cluster.simulated.party import NOBODY, PARTY, Party

T = TypeVar("T")

#: What is called, with what, and in whose context.
Step = tuple[Callable[..., object], Sequence[Any], Context]

#: Callbacks between two collections of young garbage, and of all.
COLLECT_EVERY = 100_000
COLLECT_ALL_EVERY = 2_000_000

#: So many timers are cancelled at least before it is worth while to look for them.
FEW_TIMERS = 200

#: Callbacks within one instant, after which time is taken to have stopped for ever.
LIVELOCK = 2_000_000

#: How many callbacks are looked at to say who is going round in circles.
SAMPLE = 2_000


class RunFailed(Exception):
    """A callback or a task of the simulated world raised what nobody handled."""


class Stuck(Exception):
    """Something will never end: what is awaited cannot come, or time stands still."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """An event loop whose clock is ``now_s``, emulated seconds since its making."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.callbacks = 0
        #: Called at the end of every instant, before time goes on: to look at what it led to.
        self.after_instant: list[Callable[[], None]] = []
        #: Owns the tasks of nobody else.
        self.world = Party("world")
        self._guard = Guard(self.time, self.fail)
        self._instant_began = 0  # in callbacks
        self._buried = 0
        self._collecting = False
        self._resume_gc = False
        #: What runs next, in its order. Only timers can be cancelled, and are there with handles.
        self._ready: deque[Step | Timer] = deque()
        # Instants with timers, as a heap, and the timers of each in the order of their setting:
        # hosts keep time together, so that most instants have one timer of each.
        self._instants: list[float] = []
        self._timers: dict[float, list[Step | Timer]] = {}
        self._sweep_in = FEW_TIMERS  # that are cancelled
        self._running = False
        self._stopping = False
        self._closed = False
        self._failure: BaseException | None = None
        self.frozen = 0  # parties

    # --- time and callbacks

    def time(self) -> float:
        return self.now_s

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> None:
        """Have ``callback`` called within this instant.

        There is no handle to cancel that by: asyncio itself never does, and calls this often.
        """
        self._ready.append((callback, args, copy_context() if context is None else context))

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        step = (callback, args, copy_context() if context is None else context)
        handle = Timer(when, step, self)
        self.schedule(when, handle)
        return handle

    def schedule(self, when: float, timer: Step | Timer) -> None:
        """Have a step taken at ``when``: whatever happens, unless it is one of a ``Timer``."""
        timers = self._timers.get(when)
        if timers is None:
            self._timers[when] = [timer]
            heappush(self._instants, when)
        else:
            timers.append(timer)

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, _: asyncio.TimerHandle) -> None:
        self._sweep_in -= 1
        if not self._sweep_in:
            self._sweep()

    def _sweep(self) -> None:
        """Let go of all timers that were cancelled; do so again after as many as there are left."""
        kept = 0
        for when, timers in list(self._timers.items()):
            left = [timer for timer in timers if type(timer) is not Timer or not timer._cancelled]
            kept += len(left)
            if left:
                self._timers[when] = left
            else:
                del self._timers[when]
        self._instants = sorted(self._timers)  # which is a heap
        self._sweep_in = max(FEW_TIMERS, kept)

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
        (party or self.world).owns(task)
        return task

    def begin(self, task: asyncio.Task[Any], party: Party | None) -> None:
        """Have ``task`` of ``party``, made as the last act of a callback, take its first step.

        Where nothing else is ready that step is next anyhow: it is taken here and now, and what is
        done with it never goes through the queue, nor need anybody keep it referenced.
        """
        if len(self._ready) == 1 and not self.frozen:
            step = self._ready.pop()
            assert type(step) is not Timer, "a task's step is no timer"
            step[2].run(step[0])
            if task.done():
                return
        (party or self.world).owns(task)

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
        # What arrived within this very instant has its first step yet to take.
        while self._ready and self._failure is None:
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
        if gc.isenabled():  # until the loop is closed, for garbage may hold tasks of the run
            self._resume_gc = True
            gc.disable()
        hooks = sys.get_asyncgen_hooks()
        self._running, self._stopping = True, False
        sys.set_asyncgen_hooks(finalizer=self._finalise)
        asyncio._set_running_loop(self)
        try:
            with self._guard:
                self._turn()
        finally:
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)
            self._running = False

    def _turn(self) -> None:
        ready = self._ready
        while not self._stopping:
            if ready:
                due = ready.popleft()
                if type(due) is not Timer:
                    step = due
                elif due._cancelled:
                    continue
                else:
                    step = due.step
                callback, args, context = step
                if self.frozen and self._put_aside(due, context):
                    continue
                try:
                    if args:
                        context.run(callback, *args)
                    else:  # at half the cost
                        context.run(callback)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self._tell(step, error)
                ran = self.callbacks = self.callbacks + 1
                if not ran % COLLECT_EVERY:
                    self._look_after()
            elif not self._end_instant():
                return

    def _end_instant(self) -> bool:
        """Let time go on to the next timer; return False where there is none."""
        for look in self.after_instant:
            look()
        instants, ready = self._instants, self._ready
        if ready:
            return True  # a look made work
        while instants and (not ready or instants[0] <= self.now_s):
            when = heappop(instants)
            for timer in self._timers.pop(when):
                if type(timer) is not Timer or not timer._cancelled:
                    ready.append(timer)
            if ready and when > self.now_s:
                self.now_s = when
                self._instant_began = self.callbacks
        return bool(ready)

    def _look_after(self) -> None:
        """What is done at fixed steps, counted in callbacks."""
        self._collecting = True
        gc.collect(1 if self.callbacks % COLLECT_ALL_EVERY else 2)
        self._collecting = False
        if self.callbacks - self._instant_began >= LIVELOCK:
            self._explain_livelock()

    def _explain_livelock(self) -> None:
        ran: Counter[str] = Counter()
        for _ in range(SAMPLE):
            if not self._ready and not self._end_instant():
                break
            step = self._ready.popleft()
            if type(step) is Timer:
                step = step.step
            ran[_described(step)] += 1
            try:
                step[2].run(step[0], *step[1])
            except Exception as error:
                self._tell(step, error)
        most = "; ".join(f"{count} x {what}" for what, count in ran.most_common(5))
        self.fail(
            Stuck(
                f"time stands still at {self.now_s:.6f} s after "
                f"{self.callbacks - self._instant_began} callbacks; of the next {SAMPLE}: {most}"
            )
        )

    # --- parties

    def freeze(self, party: Party) -> None:
        """Let nothing of ``party`` run until it is thawed; what falls due is put aside."""
        if not party.frozen:
            party.frozen = True
            self.frozen += 1

    def thaw(self, party: Party) -> None:
        """Let ``party`` go on, with everything that fell due meanwhile, in order."""
        if party.frozen:
            party.frozen = False
            self.frozen -= 1
            self._ready.extend(party.backlog)
            party.backlog.clear()

    def bury(self, party: Party) -> None:
        """``party`` is dead: its tasks are cancelled, and nobody hears of their last words."""
        party.dead = True
        self._buried += 1
        self.thaw(party)  # a wake-up that was put aside is how a cancelled task ends
        party.end_tasks()

    def _put_aside(self, due: Step | Timer, context: Context) -> bool:
        party = context.get(PARTY)
        if party is None or not party.frozen:
            return False
        party.backlog.append(due)  # a timer can still be cancelled
        return True

    # --- failures

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._by_the_dead():
            return
        error = context.get("exception")
        failure = RunFailed(f"at {self.now_s:.3f} s: {context.get('message')}: {error!r}")
        failure.__cause__ = error
        self.fail(failure)

    def _tell(self, step: Step, error: BaseException) -> None:
        message = f"Exception in callback {_described(step)}"
        step[2].run(self.call_exception_handler, {"message": message, "exception": error})

    def _by_the_dead(self) -> bool:
        if self._collecting and self._buried:
            return True  # whose garbage it was cannot be told any more
        party = PARTY.get()
        return party is not None and party.dead

    def fail(self, failure: BaseException) -> None:
        """End the run with ``failure``; the first one counts."""
        if self._failure is None:
            self._failure = failure
        self._stopping = True

    def _finalise(self, generator: AsyncGenerator[Any, Any]) -> None:
        self.create_task(generator.aclose())

    # --- what an event loop is asked for besides

    #: Every future and task asks: ``bool()`` is False, and takes no call of Python to say so.
    get_debug = staticmethod(bool)

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        self._instants.clear()
        self.after_instant.clear()
        self._guard.lift()
        if self._resume_gc:
            self._resume_gc = False
            gc.enable()

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: generators are closed as they are dropped."""

    async def shutdown_default_executor(self) -> None:
        """Nothing to do: there is none."""

    def call_soon_threadsafe(self, *_: Any, **__: Any) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("the simulated world has one thread; nothing may call in from another")

    def run_in_executor(self, *_: Any) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("the simulated world has no threads; do the work in the loop")


@final
class Timer(asyncio.TimerHandle):
    """asyncio's, made at half its cost: there is no debug mode to ask after."""

    __slots__ = ("step",)
    _loop: VirtualLoop

    def __init__(self, when: float, step: Step, loop: VirtualLoop) -> None:
        self.step = step  # nothing else of a handle is there: the loop runs steps
        self._when = when
        self._loop = loop
        self._cancelled = False

    def __repr__(self) -> str:
        return f"<timer at {self._when:.6f} s: {_described(self.step)}>"

    def cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            self.step = _NOTHING
            self._loop._timer_handle_cancelled(self)


#: Stands in for what a cancelled timer would have called, so that it is let go of.
_NOTHING: Step = (lambda: None, (), NOBODY)


def _described(step: Step) -> str:
    """Say what ``step`` runs: a task by its coroutine, whose it is, or else the function."""
    callback: Any = step[0]
    party = step[2].get(PARTY)
    owner = f" of {party.name}" if party is not None else ""
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return f"{getattr(task.get_coro(), '__qualname__', task)}{owner}"
    return f"{getattr(callback, '__qualname__', repr(callback))}{owner}"
