"""Alarms: events of the platform that somebody should look at, by kind."""

from __future__ import annotations

from fnmatch import fnmatchcase

#: Kinds of events that come, always or at times, as more than news, and what each tells.
ALARMS: dict[str, str] = {
    "host.disconnected": "the VRM hears nothing of a host",
    "host.isolated": "a host is cut off from the VRM, and its storage hears of it",
    "host.dead": "nobody hears of a host any more",
    "host.storage-less": "a host does not reach an array",
    "host.faulty": "a host did not come on when it was switched on",
    "host.clock": "the clock of a host is wrong",
    "host.power-on": "an order to switch a host on failed",
    "host.power-off": "an order to switch a host off failed",
    "host.reboot": "an order to reboot a host failed",
    "host.enter-maintenance": "a host could not be vacated",
    "host.exit-maintenance": "a host could not be taken into use again",
    "vm.held": "a host froze a VM whose lease ended",
    "vm.discarded": "a host dropped a copy of a VM that is elsewhere now",
    "vm.void": "a host is told to drop a copy of a VM that is void",
    "vm.halted": "a VM ended, and nobody had ordered that",
    "vm.found": "a VM that was taken for stopped is not",
    "vm.elsewhere": "a second host holds a VM",
    "vm.stray": "a host holds a VM that nobody knows",
    "vm.failover.waits": "a lost VM cannot be fenced, or finds no room, for now",
    "vm.failover.gave-up": "a lost VM is not restarted",
    "vm.migrate": "a live migration failed",
    "vm.create": "a VM could not be made",
    "vm.deploy": "VMs could not be made of a template",
    "vm.delete": "a VM could not be deleted",
    "vm.start": "a VM could not be started",
    "vm.stop": "a VM could not be stopped",
    "vm.reboot": "a VM could not be rebooted",
    "vm.pause": "a VM could not be paused",
    "vm.resume": "a VM could not be resumed",
    "vm.set-cpu": "CPU settings of a VM did not reach its host",
    "volume.delete": "volumes of deleted VMs stay for now",
    "vrm.restarted": "the VRM was started anew",
}


def is_alarm(severity: str, kind: str, pattern: str = "") -> bool:
    """Return whether an event is an alarm of ``pattern``: of those asked for by their kind warnings
    count as well, and otherwise errors alone.
    """
    if not pattern:
        return severity == "error"
    return severity != "info" and fnmatchcase(kind, pattern)
