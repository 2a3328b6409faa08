"""From the text of a YAML file to its tree; what YAML itself forbids is found here."""

from __future__ import annotations

import yaml

from cluster.datacenter_file.mistakes import DatacenterFileError, place_of

# libyaml's parser is ten times as fast; the other one is always there.
_Loader: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)


def parse(text: str, source: str) -> tuple[object, list[str]]:
    """Return the tree in ``text`` and a mistake for every key that a mapping has twice.

    Raises ``DatacenterFileError``, naming ``source``, line and column, where it is not YAML.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise DatacenterFileError([f"{source} is empty; write for example datacenter: demo"])
        duplicates = _duplicates(node)  # first: construction merges `<<` into the nodes
        return loader.construct_document(node), duplicates
    except yaml.MarkedYAMLError as error:
        raise DatacenterFileError([_sentence(error, source)]) from error
    except yaml.YAMLError as error:
        raise DatacenterFileError([f"{source} is not YAML: {error}"]) from error
    except RecursionError as error:
        raise DatacenterFileError([f"{source} is nested too deeply"]) from error
    except (ValueError, OverflowError) as error:  # a date or number that is none
        raise DatacenterFileError(
            [f"{source} has a value that YAML cannot read: {error}"]
        ) from error
    finally:
        loader.dispose()


def _sentence(error: yaml.MarkedYAMLError, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
    problem = error.problem or error.context or "no more is known"
    hint = "; indent with spaces, not tabs" if "'\\t'" in problem else ""
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
