"""One datacenter under many seeds, over all cores."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from cluster.simulated.run import Failure, RunOutcome, never, run

#: Between two looks at whether to stop.
PATIENCE_S = 0.2
#: A worker that was told to end has this long.
GOODBYE_S = 1.0

#: What is asked of a worker for one seed, and what it answers: both cross between processes.
Request = TypeVar("Request")
Outcome = TypeVar("Outcome")


@dataclass(slots=True)
class _Worker:
    """A process that runs one seed after another."""

    process: BaseProcess
    pipe: Connection
    seed: int | None = None


@dataclass(slots=True)
class Campaign(Generic[Request, Outcome]):
    """Runs ``request_of`` every seed; ``work`` is what a worker does with one.

    Workers are given both once, and then seeds: what all seeds have in common crosses no pipe. So
    both have to be picklable. A worker that dies takes nothing with it but its seed, which counts
    as ``lost``.
    """

    request_of: Callable[[int], Request]
    seeds: Sequence[int]
    jobs: int
    work: Callable[[Request], Outcome] = run  # type: ignore[assignment]
    lost: Callable[[int, Failure], Outcome] = lambda *it: lost_run(*it)  # type: ignore  # noqa: PLW0108
    _waiting: deque[int] = field(init=False)
    _workers: list[_Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._waiting = deque(self.seeds)

    def start(self) -> None:
        """Start the workers, if that has not been done.

        They are copies of this process, which has loaded everything, unless it has other threads:
        locks that those hold would be held for ever in a copy.
        """
        while len(self._workers) < min(self.jobs, len(self.seeds)):
            self._workers.append(self._start())

    def outcomes(self, interrupted: Callable[[], bool] = never) -> Iterator[Outcome]:
        """Yield what came of every seed, as they end; fewer where ``interrupted`` says stop."""
        try:
            self.start()
            for worker in self._workers:
                self._give(worker)
            while self._busy() and not interrupted():
                yield from self._collect()
        finally:
            self._end()

    def _busy(self) -> bool:
        return any(worker.seed is not None for worker in self._workers)

    def _start(self) -> _Worker:
        """Start a process for many seeds; one that is no copy loads everything once for them."""
        alone = threading.active_count() == 1
        context: ForkContext | SpawnContext = ForkContext() if alone else SpawnContext()
        ours, theirs = context.Pipe()
        # A copy has our ends of all pipes, and while it does nobody sees that we hang up.
        inherited = [ours, *(worker.pipe for worker in self._workers)] if alone else []
        process: BaseProcess = context.Process(
            target=_serve, args=(theirs, self.request_of, self.work, inherited), daemon=True
        )
        with _deaf_to_interrupts():
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def _give(self, worker: _Worker) -> None:
        worker.seed = self._waiting.popleft() if self._waiting else None
        if worker.seed is not None:
            with suppress(ConnectionError):  # it is dead, which will show when it is listened to
                worker.pipe.send(worker.seed)

    def _collect(self) -> Iterator[Outcome]:
        ready: list[Any] = wait([worker.pipe for worker in self._workers], PATIENCE_S)
        for place, worker in enumerate(self._workers):
            if worker.pipe not in ready or worker.seed is None:
                continue
            try:
                outcome = worker.pipe.recv()
                self._give(worker)
            except (EOFError, ConnectionError):
                outcome = self._crashed(worker)
                if self._waiting:
                    self._workers[place] = self._start()
                    self._give(self._workers[place])
            yield outcome

    def _crashed(self, worker: _Worker) -> Outcome:
        worker.process.join(GOODBYE_S)
        code, seed = worker.process.exitcode, worker.seed
        assert seed is not None
        worker.seed = None
        manner = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return self.lost(seed, Failure(0.0, f"the process that ran it died ({manner})"))

    def _end(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
            if worker.seed is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(GOODBYE_S)
            if worker.process.is_alive():
                worker.process.kill()
        self._workers.clear()


def lost_run(seed: int, failure: Failure) -> RunOutcome:
    """Return the outcome of a run of which nothing is known but how it failed."""
    return RunOutcome(
        seed=seed, digest="", simulated_s=0.0, wall_s=0.0, events=0, rpcs=0, failure=failure
    )


def _serve(
    pipe: Connection,
    request_of: Callable[[int], Any],
    work: Callable[[Any], Any],
    inherited: Sequence[Connection],
) -> None:
    """Run the seeds that come until the campaign hangs up, or is killed."""
    for end in inherited:
        end.close()
    gc.freeze()  # what is there is there to stay
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            seed: int = pipe.recv()
        except EOFError:
            return
        try:
            outcome = work(request_of(seed))
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            outcome = lost_run(seed, Failure(0.0, text, traceback.format_exc()))
        try:
            pipe.send(outcome)
        except ConnectionError:
            return


def _end_with_parent() -> None:
    """A campaign that is killed can tell nobody; without it nobody wants what is under way."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let a process started in the block never hear Ctrl-C; ours hears it after the block."""
    resource_tracker.ensure_running()  # when it starts it unblocks what is blocked below
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
