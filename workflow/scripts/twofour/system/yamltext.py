"""Reading YAML as its users mean it: strictly, and with texts as they were typed.

PyYAML follows YAML 1.1, keeps the last of two equal keys, and reads 2026_11 as 202611, 0010 as 8,
1:30 as 90 and 2026-11-25 as a date. Here a repeated key is an error, numbers are those of YAML 1.2
(core schema, section 10.3.2) in decimal, and where a text is expected no number is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

import yaml

from .errors import TwoFourError

_NULL, _TEXT, _INTEGER = (f"tag:yaml.org,2002:{name}" for name in ("null", "str", "int"))
# tag: pattern of plain scalars, and the characters with which they begin.
_NUMBERS = {
    _INTEGER: (re.compile(r"[-+]?[0-9]+$"), "-+0123456789"),
    "tag:yaml.org,2002:float": (
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"
            r"|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
        ),
        "-+.0123456789",
    ),
}
_KEPT = (_NULL, "tag:yaml.org,2002:bool", "tag:yaml.org,2002:merge")  # as in YAML 1.1


def _resolvers() -> dict[str, list]:
    found: dict[str, list] = {}
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items():
        found[first] = [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
    for tag, (pattern, firsts) in _NUMBERS.items():
        for first in firsts:
            found.setdefault(first, []).append((tag, pattern))
    return found


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar = _resolvers()  # type: ignore[misc]
    yaml_constructors: ClassVar = {**yaml.SafeLoader.yaml_constructors, _INTEGER: _decimal}


def parse(text: str, where: str, is_text: Callable[[str], bool], path: str = "") -> Any:
    """The value that ``text`` describes; a scalar for which ``is_text(path)`` holds stays a text.

    ``path`` is the full name of the key whose value this is. Raises TwoFourError with ``where``,
    line and column.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _prepare(node, where, is_text, path)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", {_place(mark)}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise TwoFourError(f"{where}{place}: not valid YAML: {problem}") from error


def decoded(content: bytes, where: str) -> str:
    """``content`` as UTF-8 text; TwoFourError with the line of the first byte that is not."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TwoFourError(
            f"{where}, line {line}: a character is not in UTF-8 (byte {content[error.start]:#04x}, "
            "perhaps Latin-1); save the file as UTF-8"
        ) from error


def _prepare(node: yaml.Node, where: str, is_text: Callable[[str], bool], path: str) -> None:
    """Refuse repeated keys, and mark what is to stay a text: keys, and what ``is_text`` says."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag != _NULL and is_text(path):
            node.tag = _TEXT
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _prepare(child, where, is_text, path)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, yaml.Mark] = {}
        for key, value in node.value:
            name = str(key.value)
            full = f"{path}.{name}" if path else name
            if name in seen and name != "<<":
                first = seen[name]
                raise TwoFourError(
                    f"{where}: {full} is given twice, in {_place(first)} and in "
                    f"{_place(key.start_mark)}; keep one of them"
                )
            seen[name] = key.start_mark
            if isinstance(key, yaml.ScalarNode) and name != "<<":
                key.tag = _TEXT  # a class may be called 07 or no
            _prepare(value, where, is_text, full)


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"
