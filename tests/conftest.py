"""Options of the whole suite."""

import os
import sys

import pytest
from hypothesis import settings

# What is compiled is kept, wherever that is switched off: else each worker, and each of the many
# processes that tests start, would compile everything anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Few examples every time, many with --hypothesis-profile=thorough. Whatever is slow is so because
# the machine is busy: no deadlines.
settings.register_profile("fast", max_examples=40, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile("fast")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--benchmarks", action="store_true", help="run tests/benchmarks, which print figures"
    )


def pytest_ignore_collect(collection_path: object, config: pytest.Config) -> bool | None:
    if "benchmarks" in str(collection_path) and not config.getoption("--benchmarks"):
        return True
    return None
