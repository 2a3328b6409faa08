"""Options of the whole suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--benchmarks", action="store_true", help="run tests/benchmarks, which print figures"
    )


def pytest_ignore_collect(collection_path: object, config: pytest.Config) -> bool | None:
    if "benchmarks" in str(collection_path) and not config.getoption("--benchmarks"):
        return True
    return None
