"""Which VMs were moved away from hosts that went out of use, until these are in use again."""

from __future__ import annotations

from cluster.vrm.records import Host, Vm
from cluster.vrm.store import Store


class Evacuated:
    """The last host that each VM had to leave; durable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, vm: Vm, host: str) -> None:
        """``vm`` was moved away for the sake of ``host``."""
        self._store.write("INSERT OR REPLACE INTO evacuated VALUES (?, ?)", (vm.number, host))

    def drop(self, vm: Vm) -> None:
        """``vm`` was moved for another reason since: it is where it should be."""
        self._store.write("DELETE FROM evacuated WHERE vm_number = ?", (vm.number,))

    def of(self, host: Host) -> list[int]:
        """Return the numbers of the VMs that had to leave ``host``; some may be gone by now."""
        rows = self._store.read(
            "SELECT vm_number FROM evacuated WHERE host = ? ORDER BY vm_number", (host.name,)
        )
        return [number for (number,) in rows]

    def forget(self, host: Host) -> None:
        """Nothing comes back to ``host`` any more."""
        self._store.write("DELETE FROM evacuated WHERE host = ?", (host.name,))
