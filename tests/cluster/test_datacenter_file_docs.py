"""The reference of the datacenter file stays true: its examples load, and no key is left out."""

import re
from pathlib import Path

import pytest

from cluster.datacenter_file import (
    fault_schema,
    load,
    migration_schema,
    schema,
    storage_schema,
    values,
)

REFERENCE = Path(__file__).parents[2] / "docs" / "datacenter-file.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", REFERENCE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=[text.split("\n")[0] for text in EXAMPLES])
def test_an_example_is_a_whole_file(example: str, tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(example, encoding="utf-8")
    assert load(str(path)).hosts


def test_every_key_is_explained() -> None:
    models = [
        model
        for module in (fault_schema, migration_schema, schema, storage_schema)
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, values.Entry)
    ]
    keys = {key for model in models for key in model.model_fields}
    explained = set(re.findall(r"`([a-z0-9_]+)`", REFERENCE.read_text(encoding="utf-8")))
    assert len(keys) > 50
    assert keys <= explained


def test_defaults_are_those_that_the_reference_states(tmp_path: Path) -> None:
    tiny = next(text for text in EXAMPLES if text.startswith("datacenter: tiny"))
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny, encoding="utf-8")
    datacenter = load(str(path))
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", REFERENCE.read_text("utf-8"), re.M))
    vm = datacenter.vms[0].spec
    assert rows["tick"] == "`heartbeat.interval`"
    assert datacenter.tick_s == datacenter.heartbeat_interval_s
    assert rows["seed"] == str(datacenter.seed)
    assert rows["boot"] == f"{vm.boot_s:g}s"
    assert rows["shutdown"] == f"{vm.shutdown_s:g}s"
    assert rows["rack"] == f"`{datacenter.hosts[0].rack}`"
    assert rows["clusters"] == f"one, `{datacenter.clusters[0].name}`"
    dom0 = datacenter.hosts[0].dom0
    assert rows["dom0"] == f"{dom0.vcpus} vCPUs, {dom0.memory_bytes >> 30}GiB"
