"""Runs on disk: a manifest that is enough to repeat them, and tables of what went on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.policy import sources
from cluster.simulated.configuration import from_json, to_json
from cluster.simulated.journal import Journal
from cluster.simulated.provenance import Origin
from cluster.simulated.run import Onlooker, RunOutcome, RunRequest, never, run
from cluster.simulated.summary import document_of
from cluster.simulated.tables import Tables
from fusion.errors import InvalidInput, Refused
from fusion.spec import Datacenter

MANIFEST = "manifest.json"
INPUTS = "inputs"
FORMAT = 1


def new_folder(folder: Path) -> None:
    """Make ``folder``. Raises ``Refused`` where something is in it, for nothing is overwritten."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder}: not a folder; name one that is empty or is still to be made")
    if folder.is_dir() and any(folder.iterdir()):
        raise Refused(f"{folder}: not empty, and nothing is overwritten; name another folder")
    folder.mkdir(parents=True, exist_ok=True)


def record(
    request: RunRequest,
    folder: Path,
    origin: Origin,
    *,
    journal: Journal | None = None,
    onlookers: Sequence[Onlooker] = (),
    interrupted: Callable[[], bool] = never,
) -> RunOutcome:
    """Run ``request`` and write it to ``folder``, which is made; the digest is as without."""
    new_folder(folder)
    journal = journal or Journal()
    with Tables(folder, request) as tables:
        journal.followers.append(tables.hear)
        outcome = run(
            request, journal=journal, onlookers=[tables, *onlookers], interrupted=interrupted
        )
    manifest = {
        "format": FORMAT,
        "for_s": request.for_s,
        "orders_every_s": request.orders_every_s,
        "sampled_every_s": tables.period_s,
        **document_of(outcome),
        **origin.to_json(),
        "configuration": to_json(_with_copies(request.datacenter, folder)),
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return outcome


def _with_copies(datacenter: Datacenter, folder: Path) -> Datacenter:
    """Copy the policies of ``datacenter`` into ``folder``; return it with paths to the copies."""
    copied = {}
    for cluster, policy in sources(datacenter).items():
        copy = Path(INPUTS) / policy.sha256[:12] / policy.path.name
        (folder / copy).parent.mkdir(parents=True, exist_ok=True)
        (folder / copy).write_bytes(policy.path.read_bytes())
        copied[cluster] = f"{copy.as_posix()}:{policy.name}"
    return _with_policies(datacenter, copied)


def _with_policies(datacenter: Datacenter, policies: Mapping[str, str]) -> Datacenter:
    clusters = [
        replace(cluster, policy=policies.get(cluster.name, "")) for cluster in datacenter.clusters
    ]
    return replace(datacenter, clusters=tuple(clusters))


@dataclass(frozen=True, slots=True)
class Manifest:
    """A run as it was recorded: what was asked for, what came of it, and where it came from."""

    request: RunRequest
    digest: str
    simulated_s: float
    origin: Origin


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest in ``folder``. Raises ``InvalidInput`` where there is none to be used."""
    path = folder / MANIFEST
    tree = _tree(path)
    try:
        if tree["format"] != FORMAT:
            raise InvalidInput(
                f"{path}: format {tree['format']} is unknown to this version, which knows {FORMAT}"
            )
        origin = Origin(
            commit=tree["commit"],
            clean=tree["clean"],
            versions=dict(tree["versions"]),
            inputs=tuple(tree["inputs"]),
        )
        datacenter = from_json(tree["configuration"])
        copies = {
            cluster.name: str(folder.absolute() / cluster.policy)
            for cluster in datacenter.clusters
            if cluster.policy
        }
        request = RunRequest(
            _with_policies(datacenter, copies), float(tree["for_s"]), tree["orders_every_s"]
        )
        return Manifest(request, str(tree["digest"]), float(tree["simulated_s"]), origin)
    except InvalidInput as mistake:
        raise InvalidInput(f"{path}: {mistake}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{path}: incomplete ({type(error).__name__}: {error})") from None


def _tree(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidInput(
            f"{path.parent}: no recorded run, for it has no {MANIFEST}; "
            "fusion sim --out makes such a folder"
        ) from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidInput(f"{path}: this is not JSON ({error})") from None
    if not isinstance(tree, dict):
        raise InvalidInput(f"{path}: this is no manifest")
    return tree
