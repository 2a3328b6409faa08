"""Figures of migrations in words: how one goes, how it went, and what had been expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.cli.rows import Row
from cluster.rpc.v1 import agent_pb2 as agent
from fusion.units import format_duration, format_size

#: What a figure is called in the progress of a migration, where its forecast calls it otherwise.
_IN_PROGRESS = {"duration_s": "elapsed_s", "rounds": "round"}


def how_it_goes(progress: agent.MigrationProgress) -> str:
    """Return a phrase for a migration under way: what is left, how fast it is sent, and how fast
    the guest writes.
    """
    if progress.phase == agent.MIGRATION_PHASE_HAND_OVER:
        return "hand-over: the guest is paused"
    end = f", {format_duration(progress.left_s)} to go" if progress.left_s >= 0 else ""
    phrase = (
        f"round {progress.round}{end}: {format_size(progress.remaining_bytes)} at "
        f"{format_size(progress.rate_bytes_s)}/s, writes {format_size(progress.dirty_bytes_s)}/s"
    )
    if progress.throttle_share > 0:
        phrase += f", slowed down by {100 * progress.throttle_share:.0f} %"
    return phrase


def how_it_went(migration: Row) -> list[str]:
    """Return the lines that say what a migration took, each with its forecast in brackets."""
    if migration["progress"] is None or migration["progress"]["phase"] != "moved":
        return [f"what that took is not known: {migration['source']} did not tell"]
    return [
        f"took {beside(migration, 'duration_s', format_duration)}, "
        f"paused for {beside(migration, 'downtime_s', format_duration)}",
        f"{beside(migration, 'rounds', str)} rounds, "
        f"{beside(migration, 'raw_bytes', format_size)} of memory as "
        f"{beside(migration, 'wire_bytes', format_size)} on the network",
    ]


def what_to_expect(forecast: Row) -> str:
    """Return a sentence for a forecast."""
    size, network = format_size(forecast["raw_bytes"]), format_size(forecast["wire_bytes"])
    sentence = (
        f"It would take {format_duration(forecast['duration_s'])} in {forecast['rounds']} rounds, "
        f"send {size} of memory as {network} on the network, and pause the guest for "
        f"{format_duration(forecast['downtime_s'])}."
    )
    if forecast["converges"]:
        return sentence
    return sentence + " It would not converge: pages are written faster than they can be sent."


def settings_in_words(settings: Row) -> str:
    """Return a phrase for how VMs are migrated."""
    compression, threads = settings["compression"], settings["compression_threads"]
    packed = "uncompressed" if compression == "none" else f"{compression} on {threads} threads"
    return (
        f"{packed}, {format_duration(settings['downtime_s'])} down, {settings['rounds']} rounds, "
        f"{settings['no_convergence']}"
    )


def beside(migration: Row, figure: str, formatted: Callable[[Any], str]) -> str:
    """Return ``figure`` of the outcome, or ``-``, and what was forecast in brackets."""
    progress, forecast = migration["progress"], migration["forecast"]
    outcome = "-" if progress is None else formatted(progress[_IN_PROGRESS.get(figure, figure)])
    return outcome if forecast is None else f"{outcome} ({formatted(forecast[figure])})"
