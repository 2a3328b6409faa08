"""From the text of a YAML file to its tree; what YAML itself forbids is found here."""

from __future__ import annotations

import yaml

from cluster.datacenter_file.mistakes import DatacenterFileError, place_of

# libyaml's parser is ten times as fast; the other one is always there.
_Loader: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)

#: A datacenter file needs seven.
MAX_DEPTH = 50


def parse(text: str, source: str) -> tuple[object, list[str]]:
    """Return the tree in ``text`` and a mistake for every key that a mapping has twice.

    Raises ``DatacenterFileError``, naming ``source``, line and column, where it is not YAML.
    """
    loader = _Loader(text)
    try:
        if _depth(text) > MAX_DEPTH:
            raise DatacenterFileError([f"{source} is nested too deeply"])
        node = loader.get_single_node()
        if node is None:
            raise DatacenterFileError([f"{source} is empty; write for example datacenter: demo"])
        duplicates = _duplicates(node)  # first: construction merges `<<` into the nodes
        return loader.construct_document(node), duplicates
    except yaml.MarkedYAMLError as error:
        raise DatacenterFileError([_sentence(error, text, source)]) from error
    except yaml.YAMLError as error:
        raise DatacenterFileError([f"{source} is not YAML: {error}"]) from error
    except (ValueError, OverflowError) as error:  # a date or number that is none
        raise DatacenterFileError(
            [f"{source} has a value that YAML cannot read: {error}"]
        ) from error
    finally:
        loader.dispose()


def _depth(text: str) -> int:
    """Return how deep ``text`` is nested, read as a stream: libyaml's composer would crash."""
    depth = deepest = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            deepest = max(deepest, depth)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            break
    return deepest


def _sentence(error: yaml.MarkedYAMLError, text: str, source: str) -> str:
    problem = error.problem or error.context or "no more is known"
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"{source}: this is not YAML: {problem}"
    here = "".join(text.splitlines()[mark.line : mark.line + 1])[mark.column :]
    hint = "; indent with spaces, not tabs" if here.startswith("\t") else ""
    place = f"{source}, line {mark.line + 1}, column {mark.column + 1}"
    return f"{place}: this is not YAML: {problem}{hint}"


def _duplicates(root: yaml.Node) -> list[str]:
    """Return a mistake for every repeated key below ``root``, in the order of the file."""
    mistakes: list[str] = []
    seen: set[int] = set()  # nodes that aliases lead to again

    def visit(node: yaml.Node, path: tuple[str | int, ...]) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                visit(item, (*path, index))
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in lines:
                    mistakes.append(_twice(place_of((*path, name)), lines[name], line))
                lines.setdefault(name, line)
                visit(value, (*path, name))

    visit(root, ())
    return mistakes


def _twice(place: str, first_line: int, line: int) -> str:
    where = f"in line {line}" if line == first_line else f"in lines {first_line} and {line}"
    return f"{place}: written twice, {where}; keep one"
