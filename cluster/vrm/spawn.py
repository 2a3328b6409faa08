"""How the parts of the VRM start work of their own, which ends with it."""

from collections.abc import Callable, Coroutine
from typing import Any

#: Starts a coroutine as a task of the VRM. An exception in it is a crash.
Spawn = Callable[[Coroutine[Any, Any, None]], object]
