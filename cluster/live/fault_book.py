"""Faults of a running datacenter, written down: a file each, in a folder beside its run's stores.

A fault is written down before it begins and struck out once it is undone, so that whatever becomes
of who let it begin, what is left of it is known.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cluster.live.process_table import alive
from cluster.live.run_state import Process, RunState
from fusion.errors import FusionError, InvalidInput, NotFound
from fusion.faults.records import from_records, to_records
from fusion.faults.schedule import Fault

_FOLDER = "faults"
_PREFIX = "fault-"
_LAST = "last"  # the number of the last name
_FELT = "felt"  # by whom a fault is felt: an empty file each


@dataclass(frozen=True, slots=True)
class WrittenFault:
    """A fault under way. ``victims`` are the processes that it struck.

    ``owner`` will heal it, and nobody else while that process lives; without one it lasts until an
    operator has it healed. It began at ``began``; at ``until``, Unix times both, it is over by
    itself where the struck party can do that (0: never).
    """

    name: str
    fault: Fault
    owner: Process | None
    victims: tuple[Process, ...] = ()
    until: float = 0.0
    began: float = 0.0

    @property
    def left_behind(self) -> bool:
        """Whether it should have been healed: its owner is gone."""
        return self.owner is not None and not alive(self.owner)

    @property
    def over(self) -> bool:
        """Whether who can end it by himself has done so."""
        return self.left_behind or 0 < self.until <= time.time()


class FaultBook:
    """The faults that are written down of one run."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the run's."""
        self.folder = folder / _FOLDER

    @staticmethod
    def of(run: RunState) -> FaultBook:
        return FaultBook(Path(run.folder))

    def write(
        self,
        fault: Fault,
        owner: Process | None,
        victims: Sequence[Process],
        lasts_s: float,
    ) -> WrittenFault:
        """Write ``fault`` down under a name that no other has; by itself it is over after
        ``lasts_s`` of wall time (0: never).
        """
        began = time.time()
        until = began + lasts_s if lasts_s else 0.0
        self.folder.mkdir(exist_ok=True)
        number = 1 + self._last()
        while True:
            name = f"{_PREFIX}{number}"
            written = WrittenFault(name, fault, owner, tuple(victims), until, began)
            draft = self._draft(written)
            try:
                os.link(draft, self._file(written.name))  # whole or not at all, and by one alone
            except FileExistsError:
                number += 1
            else:
                (self.folder / _LAST).write_text(str(number), encoding="utf-8")
                return written
            finally:
                draft.unlink()

    def faults(self) -> list[WrittenFault]:
        """Return what is written down, in the order of its beginning.

        Raises ``FusionError`` where a file is damaged.
        """
        found = (self._read(file) for file in sorted(self._files(), key=_number))
        return [written for written in found if written is not None]

    def fault(self, name: str) -> WrittenFault:
        """Return the fault of that name. Raises ``NotFound``."""
        written = self._read(self._file(name)) if name.startswith(_PREFIX) else None
        if written is None:
            raise NotFound(f"no fault {name!r} is under way; 'fusion chaos status' lists those")
        return written

    def let_end(self, written: WrittenFault) -> None:
        """From now on ``written`` is over for those who suffer it; it stays written down."""
        self._put(replace(written, until=time.time()))

    def strike_out(self, name: str) -> None:
        """The fault of that name is undone; the name is given to no other."""
        self._file(name).unlink(missing_ok=True)
        for mark in self.folder.glob(f"{name}.{_FELT}-*"):
            mark.unlink(missing_ok=True)

    def mark_felt(self, name: str, process: str) -> None:
        """``process`` is under the fault of that name from now on."""
        (self.folder / f"{name}.{_FELT}-{process}").touch()

    def felt_by(self, name: str) -> frozenset[str]:
        """Return the processes that are under the fault of that name."""
        prefix = f"{name}.{_FELT}-"
        return frozenset(each.name.removeprefix(prefix) for each in self.folder.glob(f"{prefix}*"))

    def _put(self, written: WrittenFault) -> None:
        """Write ``written`` over what is there of it."""
        self._draft(written).replace(self._file(written.name))

    def _draft(self, written: WrittenFault) -> Path:
        draft = self.folder / f"draft-{os.getpid()}"
        draft.write_text(json.dumps(_record(written), indent=2) + "\n", encoding="utf-8")
        return draft

    def _last(self) -> int:
        """Return the number of the last name that was given."""
        last = self.folder / _LAST
        given = int(last.read_text(encoding="utf-8")) if last.exists() else 0
        return max(given, *map(_number, self._files()), 0)

    def _files(self) -> list[Path]:
        return [file for file in self.folder.glob(f"{_PREFIX}*.json") if _number(file)]

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _read(self, file: Path) -> WrittenFault | None:
        try:
            return _written(file.stem, json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:  # struck out meanwhile
            return None
        except (ValueError, TypeError, KeyError, InvalidInput) as error:
            raise FusionError(f"{file}: damaged ({error}); remove it by hand") from error


def _number(file: Path) -> int:
    digits = file.stem.removeprefix(_PREFIX)
    return int(digits) if digits.isdecimal() else 0


def _record(written: WrittenFault) -> dict[str, object]:
    (fault,) = to_records((written.fault,))
    return {
        "fault": fault,
        "owner": asdict(written.owner) if written.owner else None,
        "victims": [asdict(process) for process in written.victims],
        "until": written.until,
        "began": written.began,
    }


def _written(name: str, record: dict[str, object]) -> WrittenFault:
    (fault,) = from_records([record["fault"]])
    owner, victims = record["owner"], record["victims"]
    until, began = record["until"], record["began"]
    assert isinstance(victims, list)
    assert isinstance(until, int | float)
    assert isinstance(began, int | float)
    return WrittenFault(
        name=name,
        fault=fault,
        owner=Process(**owner) if isinstance(owner, dict) else None,
        victims=tuple(Process(**process) for process in victims),
        until=float(until),
        began=float(began),
    )
