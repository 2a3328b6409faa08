"""The ledger that every guest keeps: numbered entries of clients, in memory and on its volume.

On the volume each entry is a block of its own, at an offset that no other ever has: a tail that is
half written cannot be, and what an earlier boot still had under way overwrites nothing.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from fusion.errors import FusionError, InvalidInput, Refused

_NUMBER_BYTES = 8
_LAST_NUMBER = (1 << 8 * _NUMBER_BYTES) - 1


class Runs:
    """A set of numbers, kept as runs of consecutive ones in rising order."""

    def __init__(self) -> None:
        self._first: list[int] = []
        self._last: list[int] = []

    @staticmethod
    def of(first: Sequence[int], last: Sequence[int]) -> Runs:
        """Return what ``runs`` told of."""
        runs = Runs()
        runs._first, runs._last = list(first), list(last)
        return runs

    def __contains__(self, number: int) -> bool:
        run = bisect_right(self._first, number) - 1
        return run >= 0 and number <= self._last[run]

    def add(self, number: int) -> bool:
        """Take in ``number``; return whether it is new."""
        if self._last and number == self._last[-1] + 1:  # as nearly always
            self._last[-1] = number
            return True
        run = bisect_right(self._first, number) - 1
        if run >= 0 and number <= self._last[run]:
            return False
        follows = run >= 0 and self._last[run] == number - 1
        precedes = run + 1 < len(self._first) and self._first[run + 1] == number + 1
        if follows and precedes:
            self._last[run] = self._last.pop(run + 1)
            del self._first[run + 1]
        elif follows:
            self._last[run] = number
        elif precedes:
            self._first[run + 1] = number
        else:
            self._first.insert(run + 1, number)
            self._last.insert(run + 1, number)
        return True

    @property
    def runs(self) -> tuple[list[int], list[int]]:
        """The first and the last number of each run."""
        return list(self._first), list(self._last)


class Entry(NamedTuple):
    """What a client appended: its ``number``-th entry, of so many bytes."""

    client: str
    number: int
    size_bytes: int


class Block(NamedTuple):
    """An entry as it lies on the volume; ``data`` is what of it is kept, see ``decoded``."""

    offset: int
    size_bytes: int
    entry: Entry
    data: bytes


def encoded(entry: Entry) -> bytes:
    """Return what is kept of ``entry``; its size is that of its block."""
    return entry.number.to_bytes(_NUMBER_BYTES, "little") + entry.client.encode()


def decoded(data: bytes, size_bytes: int) -> Entry:
    """Return the entry in a block. Raises ``FusionError`` where there is none."""
    if len(data) <= _NUMBER_BYTES:
        raise FusionError(f"a block of {len(data)} bytes of data is no entry of a ledger")
    number = int.from_bytes(data[:_NUMBER_BYTES], "little")
    return Entry(data[_NUMBER_BYTES:].decode(errors="replace"), number, size_bytes)


class Ledger:
    """The entries that a guest knows, and those of them that are yet to be written.

    It is of one boot: what was not written dies with the guest's memory, and goes with it where the
    guest migrates. ``from_offset`` is above everything that an earlier boot on the same host may
    still have under way.
    """

    def __init__(self, volume_bytes: int, from_offset: int = 0) -> None:
        self._volume_bytes = volume_bytes
        self.next_offset = from_offset
        self.read_to = 0  # where the next block to be read back may lie
        self._known: dict[str, Runs] = {}
        self._written: dict[str, Runs] = {}
        self._pending: deque[Block] = deque()

    @property
    def pending(self) -> int:
        """How many entries are yet to be written."""
        return len(self._pending)

    def knows(self, client: str, number: int) -> bool:
        return number in self._known.get(client, ())

    def on_volume(self, client: str, number: int) -> bool:
        return number in self._written.get(client, ())

    def runs(self, client: str) -> tuple[list[int], list[int]]:
        """Return the numbers of all entries of ``client``, as first and last of each run."""
        return self._known.get(client, Runs()).runs

    def append(self, entry: Entry) -> bool:
        """Take in an entry, to be written; return whether it is new.

        Raises ``InvalidInput`` for one that nobody could have meant, and ``Refused`` where the
        volume has no room for it.
        """
        client, number, _ = entry
        if not client or not 1 <= number <= _LAST_NUMBER:
            raise InvalidInput(
                f"entry {number} of client {client!r}: name the client, and number its entries"
                f" from 1"
            )
        data = encoded(entry)
        size_bytes = max(entry.size_bytes, len(data))
        if self.next_offset + size_bytes > self._volume_bytes:
            if self.knows(client, number):
                return False
            raise Refused(
                f"the volume of {self._volume_bytes} bytes is full: an entry of {size_bytes} bytes"
                f" does not fit; give the VM a larger one"
            )
        if not _runs_of(client, self._known).add(number):
            return False
        self._pending.append(Block(self.next_offset, size_bytes, entry, data))
        self.next_offset += size_bytes
        return True

    def next_blocks(self, at_most: int) -> Sequence[Block]:
        """Return the oldest blocks that are yet to be written."""
        return list(islice(self._pending, at_most))

    def written(self, blocks: int) -> None:
        """Note that so many of the oldest blocks are on the volume."""
        for _ in range(blocks):
            entry = self._pending.popleft().entry
            _runs_of(entry.client, self._written).add(entry.number)

    def restore(self, offset: int, size_bytes: int, data: bytes) -> None:
        """Take in a block that was read back; blocks come in the order of their offsets."""
        entry = decoded(data, size_bytes)
        for entries in (self._known, self._written):
            _runs_of(entry.client, entries).add(entry.number)
        self.read_to = offset + size_bytes
        self.next_offset = max(self.next_offset, self.read_to)

    def packed(self) -> bytes:
        """Return all that there is to know of it but the size of its volume; see ``unpacked``."""
        state = {
            "next_offset": self.next_offset,
            "read_to": self.read_to,
            "written": {client: runs.runs for client, runs in self._written.items()},
            "pending": [(one.offset, one.size_bytes, *one.entry) for one in self._pending],
        }
        return json.dumps(state).encode()

    @staticmethod
    def unpacked(data: bytes, volume_bytes: int) -> Ledger:
        """Return the ledger that was ``packed``; raises ``InvalidInput`` where it is damaged.

        Blocks that were on their way to the volume are among those yet to be written: to write
        them once more, each at its place, changes nothing.
        """
        try:
            state = json.loads(data)
            ledger = Ledger(volume_bytes, int(state["next_offset"]))
            ledger.read_to = int(state["read_to"])
            for entries in (ledger._known, ledger._written):
                for client, runs in state["written"].items():
                    entries[client] = Runs.of(*runs)
            for offset, size_bytes, *fields in state["pending"]:
                entry = Entry(*fields)
                ledger._pending.append(Block(offset, size_bytes, entry, encoded(entry)))
                _runs_of(entry.client, ledger._known).add(entry.number)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as damage:
            raise InvalidInput(f"a ledger that came with a VM is damaged: {damage!r}") from damage
        return ledger


def _runs_of(client: str, entries: dict[str, Runs]) -> Runs:
    """Return the numbers of ``client`` among ``entries``, to which it is added where it is new."""
    runs = entries.get(client)
    if runs is None:
        runs = entries[client] = Runs()
    return runs
