"""Replacing a method for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Within the block ``owner.name`` is what ``make`` builds from the true one."""
    true = getattr(owner, name)
    own = owner.__dict__.get(name, true)
    setattr(owner, name, make(true))
    try:
        yield
    finally:
        setattr(owner, name, own)
