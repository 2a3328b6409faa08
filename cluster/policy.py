"""Policies under study: a name in a file of Python takes the place of a built-in policy.

A reference is written ``path.py:Name``. ``Name`` is a class with a method ``place``, made anew
without arguments at every start of the VRM, or a function of the same shape; see
``fusion.policy.placement.PlacementPolicy``. The file is one module by itself: it may import what
is installed, not its neighbours.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

from fusion.errors import InvalidInput
from fusion.policy.placement import (
    Decision,
    HostsSnapshot,
    PlaceFunction,
    PlacementPolicy,
    PlacementRequest,
)
from fusion.policy.supervised import Supervised
from fusion.spec import Datacenter


@dataclass(frozen=True, slots=True)
class PolicySource:
    """A policy as it was read: what is run is what ``sha256`` was taken of."""

    path: Path
    name: str
    sha256: str
    code: CodeType

    @property
    def title(self) -> str:
        """How sentences call it."""
        return f"{self.path.name}:{self.name}"

    def make(self) -> PlacementPolicy:
        """Run the file and return its policy. Raises ``InvalidInput`` where that cannot be."""
        module = ModuleType(f"fusion_policy_{self.sha256[:16]}")
        module.__file__ = str(self.path)
        sys.modules[module.__name__] = module  # dataclasses look their module up
        try:
            exec(self.code, module.__dict__)
            found = getattr(module, self.name)
            policy = found() if isinstance(found, type) else found
        except Exception as error:
            raise InvalidInput(f"policy {self.title}: {explained(error, self.path)}") from error
        place = getattr(policy, "place", policy)
        if not callable(place):
            raise InvalidInput(
                f"policy {self.title}: {self.name} has no method place(request, hosts); "
                "give it one, or name a function"
            )
        return Supervised(self.title, _Adapted(place), lambda error: explained(error, self.path))


@dataclass(frozen=True, slots=True)
class _Adapted:
    """A function, bound or not, as a policy."""

    function: PlaceFunction

    def place(self, request: PlacementRequest, hosts: HostsSnapshot) -> Decision:
        return self.function(request, hosts)


def resolve(written: str, places: Sequence[Path]) -> str:
    """Return the reference ``written`` with its path made absolute.

    The file is looked for in ``places``, in their order, and read but not run: whether it is Python
    and has the name is checked. Raises ``InvalidInput``.
    """
    path, name = _parts(written)
    found = next((place / path for place in places if (place / path).is_file()), None)
    if found is None:
        where = " or ".join(str(place) for place in dict.fromkeys(places))
        raise InvalidInput(f"no file {path} in {where}; check the path")
    reference = f"{found.absolute()}:{name}"
    read(reference)
    return reference


def read(reference: str) -> PolicySource:
    """Return the policy that an absolute ``reference`` names, without running it.

    Raises ``InvalidInput`` where there is no such file, it is not Python or has no such name.
    """
    path, name = _parts(reference)
    try:
        text = path.read_bytes()
        tree = ast.parse(text, str(path))
        code = compile(tree, str(path), "exec", dont_inherit=True)
    except OSError as error:
        raise InvalidInput(f"policy {path} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise InvalidInput(f"policy {path}{line}: this is not Python: {error}") from None
    names = _names(tree)
    if name not in names:
        has = f"it has {', '.join(names)}" if names else "it has no class and no function"
        raise InvalidInput(f"policy {path} has no {name}; {has}")
    return PolicySource(path, name, hashlib.sha256(text).hexdigest(), code)


def sources(datacenter: Datacenter) -> dict[str, PolicySource]:
    """Return the policies under study of ``datacenter``, by cluster. Raises ``InvalidInput``."""
    return {cluster.name: read(cluster.policy) for cluster in datacenter.clusters if cluster.policy}


def made(sources: Mapping[str, PolicySource]) -> dict[str, PlacementPolicy]:
    """Return each of ``sources`` as a fresh policy. Raises ``InvalidInput``."""
    return {cluster: source.make() for cluster, source in sources.items()}


def explained(error: BaseException, path: Path) -> str:
    """Return what ``error`` says, and which line of the policy it came through last."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    place = f" (line {lines[-1]})" if lines else ""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return said + place


def _parts(written: str) -> tuple[Path, str]:
    path, colon, name = written.rpartition(":")
    if not colon or not path.endswith(".py") or not name.isidentifier():
        raise InvalidInput(f"{written!r} names no policy; write for example best_fit.py:BestFit")
    return Path(path).expanduser(), name


def _names(tree: ast.Module) -> list[str]:
    """Return what the top level of a module defines that may be a policy."""
    names: list[str] = []
    for node in tree.body:
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                names.append(node.name)
            case ast.Assign():
                names += [target.id for target in node.targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.append(name)
            case _:
                pass
    return names
