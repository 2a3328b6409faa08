"""Benchmarks print figures; what the roles have to say would bury them."""

import logging

import structlog


def pytest_configure() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
