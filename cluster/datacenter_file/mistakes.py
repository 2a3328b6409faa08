"""Mistakes in a datacenter file, each one sentence that starts with its place."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from fusion.errors import InvalidInput

Path = tuple[str | int, ...]

#: What a key may look like, for mistakes where it is missing or of the wrong kind. The longer
#: forms are of a key in one kind of entry.
EXAMPLES: Mapping[str, str] = {
    "datacenter": "demo",
    "seed": "1",
    "speed": "1",
    "misses": "3",
    "hosts_per_actor": "1",
    "first_port": "17000",
    "clusters": "[{name: production}]",
    "clusters.name": "production",
    "flavours": "{small: {vcpus: 1, mhz: 2000, memory: 2GiB}}",
    "hosts": "[{name: cna-01, sockets: 2, cores: 8, mhz: 2600, memory: 128GiB}]",
    "hosts.name": '"cna-{:02d}"',
    "hosts.nics.name": "eth0",
    "vms.name": '"web-{:02d}"',
    "count": "4",
    "first": "1",
    "sockets": "2",
    "cores": "8",
    "policy": "best_fit.py:BestFit",
    "mhz": "2600",
    "memory": "128GiB",
    "vcpus": "2",
    "link": "10Gbit/s",
    "flavour": "small",
    "vms.flavours": "[small, large]",
    "shares": "2000",
    "kind": "constant",
    "percent": "40",
    "offset": "30s",
    "bandwidth": "10Mbit/s",
    "down": "2s",
    "up": "5s",
    "mean": "40",
    "amplitude": "30",
    "period": "24h",
    "levels": "[{at: 0s, percent: 10}, {at: 5m, percent: 80}]",
    "at": "5m",
    "base": "5",
    "peak": "90",
    "mean_gap": "10m",
    "mean_burst": "1m",
    "file": "traces/web-01",
    "folder": "planetlab-20110303",
    "after": "{kind: exponential, mean: 10m}",
    "lasts": "{kind: lognormal, median: 30s, sigma: 0.8}",
    "after.kind": "exponential",
    "lasts.kind": "exponential",
    "after.mean": "10m",
    "lasts.mean": "30s",
    "value": "30s",
    "low": "10s",
    "high": "60s",
    "shape": "1.5",
    "scale": "20m",
    "median": "30s",
    "sigma": "0.8",
    "between": "[host-vrm, host-host]",
    "planes": "[management, service]",
    "latency": "200ms",
    "storage.arrays": "[{name: san-1, datastores: [{name: ds-1, capacity: 10TiB}]}]",
    "arrays.name": "san-1",
    "datastores": "[{name: ds-1, capacity: 10TiB}]",
    "datastores.name": "ds-1",
    "capacity": "10TiB",
    "volumes": "[{size: 40GiB, datastore: ds-1}]",
    "size": "40GiB",
    "clients": "[{vms: [web-01], every: 1s}]",
    "clients.vms": "[web-01]",
    "vms": "[{name: web-01, vcpus: 2, mhz: 2000, memory: 4GiB}]",
    "restarts_per_host": "8",
    "phi": "8",
    "iops": "20000",
    "tolerated_hosts": "1",
    "spare-hosts.hosts": "[cna-08]",
    "admission.policy": "slots",
    "memory_profiles": "{cache: {zero: 10%, writes: [{set: 20%, rate: 30MiB/s}]}}",
    "memory_profile": "web-server",
    "writes": "[{set: 400MiB, rate: 30MiB/s}]",
    "set": "400MiB",
    "rate": "30MiB/s",
    "migration": "{compression: zstd, downtime: 300ms}",
    "threads": "2",
    "rounds": "30",
    "sent_limit": "3",
    "per_host": "8",
    "per_cluster": "16",
    "floor": "100Mbit/s",
    "step": "50Mbit/s",
    "ceiling": "500Mbit/s",
    "networks": "[office, backup]",
    "vms.nics": "[{network: office}]",
    "network": "office",
    "gpu": "tesla-t4-1",
    "pinned_to": "cna-01",
    "experiment": "one-host-dies",
    "question": "What happens to my services when one host dies?",
    "duration": "100s",
    "faults.kind": "host_crash",
    "faults.at": "10s",
    "targets": "{role: host, count: 1}",
    "migrate": "{role: vm, count: 10}",
    "that": "vms_running_share >= 95%",
}


# What aliases build up can be larger than memory when written out.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring = 1, 4, 4, 60


class DatacenterFileError(InvalidInput):
    """A datacenter file that cannot work as written; ``str`` gives one mistake a line."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


def place_of(path: Path) -> str:
    """Return ``path`` as people write it: ``hosts[2].nics[0].link``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def did_you_mean(written: str, possible: Collection[str], label: str = "possible") -> str:
    """Return the end of a sentence: the closest of ``possible``, or all of them."""
    close = difflib.get_close_matches(written.lower(), possible, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"{label}: {', '.join(possible)}" if possible else "there is none"


def shown(value: object) -> str:
    """Return ``value`` as it may stand in a sentence, however large it is."""
    text = _SHORT.repr(value)
    return {"None": "nothing", "True": "true", "False": "false"}.get(text, text)


def from_validation(error: ValidationError, document: object, schema: type[BaseModel]) -> list[str]:
    """Return the mistakes that pydantic found in ``document``, in our words."""
    return [_sentence(found, document, schema) for found in error.errors(include_url=False)]


def _sentence(found: Mapping[str, Any], document: object, schema: type[BaseModel]) -> str:
    kind, value = found["type"], found["input"]
    loc: Path = found["loc"]
    context: Mapping[str, Any] = found.get("ctx", {})
    path = _written_path(loc, document, keep_last=kind == "missing")
    example = _example(path)
    if value is None and kind != "missing":
        return f"{place_of(path) or 'the file'}: empty; write a value, or leave the key out"
    match kind:
        case "sentence":
            text = str(context["sentence"])
        case "missing":
            text = f"missing{example}"
        case "extra_forbidden":
            keys = _keys_at(loc[:-1], schema)
            text = f"unknown key; {did_you_mean(str(loc[-1]), keys, 'possible here')}"
        case "invalid_key":
            text = "this key is not text; put it in quotes"
        case "union_tag_not_found":
            path = (*path, "kind")
            text = f"missing{_example(path)}"
        case "union_tag_invalid":
            kinds = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
            what = "workload" if path[-1] == "workload" else "distribution"
            path = (*path, "kind")
            text = f"{shown(context['tag'])} is no kind of {what}; " + did_you_mean(
                str(context["tag"]), kinds
            )
        case _:
            text = f"{shown(value)} {_wrong(kind, example, context)}"
    place = place_of(path)
    return f"{place}: {text}" if place else text


def _wrong(kind: str, example: str, context: Mapping[str, Any]) -> str:
    """Return what is wrong with a value of the wrong type or range, and what would do."""
    match kind:
        case "int_type" | "int_from_float":
            return f"is not a whole number{example}"
        case "float_type" | "finite_number":
            return f"is not a number{example}"
        case "bool_type":
            return "is neither true nor false"
        case "string_type":
            return f"is not text; put it in quotes{example.replace('; write', ', or write')}"
        case "list_type":
            return f"is not a list; start each entry with a dash{example}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "is not a mapping; write key: value pairs"
        case "literal_error":
            return f"is not possible; write {context['expected'].replace(chr(39), '')}"
        case "greater_than":
            return f"is too small; it must be above {context['gt']:g}"
        case "greater_than_equal":
            return f"is too small; write at least {context['ge']:g}"
        case "less_than_equal":
            return f"is too large; write at most {context['le']:g}"
        case "too_short" | "string_too_short":
            return f"is empty{example}"
        case _:
            return f"cannot be used here ({kind.replace('_', ' ')}){example}"


def _example(path: Path) -> str:
    """Return the end of a sentence that shows what the value at ``path`` may look like."""
    keys = [step for step in path if isinstance(step, str)]
    for wanted in (".".join(keys), ".".join(keys[-2:]), keys[-1] if keys else ""):
        if wanted in EXAMPLES:
            return f"; write for example {keys[-1]}: {EXAMPLES[wanted]}"
    return ""


def _written_path(loc: Path, document: object, *, keep_last: bool) -> Path:
    """Return ``loc`` without the steps that only pydantic knows, such as tags of unions."""
    path: list[str | int] = []
    here = document
    for index, step in enumerate(loc):
        inside: dict[Any, Any] = here if isinstance(here, dict) else _by_index(here)
        if step in inside:
            here = inside[step]
            path.append(step)
        elif keep_last and index == len(loc) - 1:
            path.append(step)
    return tuple(path)


def _keys_at(loc: Path, schema: type[BaseModel]) -> Sequence[str]:
    """Return the keys that the mapping at ``loc`` may have."""
    models = [schema]
    for step in loc:
        if isinstance(step, int):
            continue
        of_field = [model for model in models if step in model.model_fields]
        if of_field:
            models = _models_in(of_field[0].model_fields[step].annotation)
        else:  # the name of an entry, or the kind of a workload
            models = [model for model in models if _kind(model) in (None, step)]
    return list(models[0].model_fields) if models else ()


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _kind(model: type[BaseModel]) -> object:
    field = model.model_fields.get("kind")
    return get_args(field.annotation)[0] if field else None


def _by_index(value: object) -> dict[int, object]:
    return dict(enumerate(value)) if isinstance(value, list) else {}
