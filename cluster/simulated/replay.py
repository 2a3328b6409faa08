"""A recorded run once more: it must come out the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.simulated.provenance import Origin
from cluster.simulated.record import Manifest
from cluster.simulated.run import Onlooker, RunOutcome, never, run
from cluster.simulated.world import SimulatedWorld


@dataclass(frozen=True, slots=True)
class Repeated:
    """What came of a repetition. It is ``the_same`` if the digests are."""

    expected_digest: str
    outcome: RunOutcome

    @property
    def the_same(self) -> bool:
        return self.expected_digest == self.outcome.digest


def repeat(
    manifest: Manifest,
    *,
    onlookers: Sequence[Onlooker] = (),
    interrupted: Callable[[], bool] = never,
) -> Repeated:
    """Run what ``manifest`` tells, as far as it got then."""
    end = _End(manifest.simulated_s)
    outcome = run(
        manifest.request,
        onlookers=[end, *onlookers],
        interrupted=lambda: end.reached or interrupted(),
    )
    return Repeated(manifest.digest, outcome)


def differences(then: Origin, now: Origin) -> list[str]:
    """Return a sentence for everything of the code and its libraries that is not as it was."""
    sentences = []
    if then.commit != now.commit:
        sentences.append(f"recorded at commit {then.commit or 'unknown'}, this is {now.commit}")
    elif not (then.clean and now.clean) and then.commit is not None:
        sentences.append(f"the code of commit {then.commit} was or is changed")
    for library, version in then.versions.items():
        present = now.versions.get(library, "unknown")
        if present != version:
            sentences.append(f"recorded with {library} {version}, this is {present}")
    return sentences


class _End:
    """Tells when a run is where the recorded one ended: that may have been interrupted."""

    def __init__(self, end_s: float) -> None:
        self._end_s = end_s
        self.reached = False

    def look(self, world: SimulatedWorld) -> None:
        self.reached = world.loop.now_s >= self._end_s
