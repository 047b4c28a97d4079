"""YAML as people mean it: a key that stands twice is refused, and so is what would only waste memory or depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from emotion_circuits._files import read_bytes
from emotion_circuits.errors import InputError

MOST_NODES = 10_000
"""Keys and values of a file with every alias written out; a study has some hundred."""


def read_yaml(path: Path) -> Any:
    """The values of a YAML file.

    Raises:
        InputError: missing, not YAML, nested too deeply or too large, or with a key that stands twice.
    """
    try:
        loader = yaml.SafeLoader(read_bytes(path).decode("utf-8-sig"))
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, path, {})
        return loader.construct_document(node)
    except OSError as error:
        raise InputError(f"Cannot read {path}.", found=error.strerror) from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply.", accepted="a mapping of keys to values") from error
    except (
        yaml.YAMLError,
        ValueError,
    ) as error:  # ValueError: not UTF-8, a number of thousands of digits, no such date
        raise InputError(f"{path} is not YAML.", found=str(error)[:300]) from error


def _check(node: yaml.Node, path: Path, sizes: dict[int, int]) -> int:
    """How many nodes there are under one, aliases written out. `sizes` knows finished nodes, and 0 for one begun."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise InputError(f"{path} holds a value that contains itself.", found=_line(node))
        return sizes[id(node)]
    sizes[id(node)] = 0
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, path)
        below = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        below = node.value
    else:
        below = []
        node.value.encode()  # a lone surrogate is a ValueError here, and would be one whenever it is written
    total = 1 + sum(_check(part, path, sizes) for part in below)
    if total > MOST_NODES:
        raise InputError(f"{path} is too large for a study.", found=_line(node), accepted=f"{MOST_NODES:,} values")
    sizes[id(node)] = total
    return total


def _check_keys(node: yaml.MappingNode, path: Path) -> None:
    lines: dict[str, yaml.Node] = {}
    for key, _ in node.value:
        if key.value in lines and isinstance(key, yaml.ScalarNode):
            raise InputError(
                f"{path} has a key twice.",
                found=f"{key.value}, {_line(lines[key.value])} and {_line(key)}",
                next_step="leave one of them out",
            )
        if isinstance(key, yaml.ScalarNode):
            lines[key.value] = key


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"
