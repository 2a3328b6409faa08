"""The chart's own programs, as modules: in a pod they are files of a ConfigMap."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from tests.helm.chart import CHART


def program(name: str) -> ModuleType:
    """Return ``files/<name>.py`` of the chart, imported."""
    spec = spec_from_file_location(name, CHART / "files" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module
