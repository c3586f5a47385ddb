"""Sections of the configuration as typed, strict objects.

A section is a frozen dataclass whose fields :func:`key` makes: type, default, meaning, unit and
range of a key are in one place, and the JSON schema is made from them. Each subpackage declares its
own sections in a module ``settings``; :mod:`twofour.config` combines them.

Plain dataclasses, since every program and each start of Snakemake loads them, in three
environments: they cost a millisecond, and pydantic a quarter of a second.

A stage gets the keys that it declares (:mod:`twofour.stages`). Reading any other key raises
:class:`UndeclaredKeyError`, so that no default can stand in for what the user has set.
"""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

# Names of plain types in JSON schema.
_PLAIN = {int: "integer", float: "number", bool: "boolean", str: "string"}


class UndeclaredKeyError(LookupError):
    """A stage reads a key of the configuration that it does not declare: a bug of ours."""


def key(
    default: Any,
    meaning: str,
    *,
    decides: bool = True,
    schema: dict | None = None,
    items: dict | None = None,
    **ranges: Any,
) -> Any:
    """A key with its ``default`` and its ``meaning``, which names the unit where there is one.

    ``ranges`` are keywords of JSON schema (minimum, maximum …), ``items`` those of a list's
    entries; ``schema`` replaces what follows from the type. ``decides`` says whether the value
    decides the outcome of a training; no checkpoint is resumed once such a key has changed.
    """
    facts = {"meaning": meaning, "decides": decides, "schema": schema, "ranges": ranges}
    facts["items"] = items or {}
    return field(default_factory=lambda: copy.deepcopy(default), metadata=facts)


@dataclass(frozen=True, repr=False)
class Section:
    """A section of the configuration; also the whole of it, whose keys are sections."""

    def __getattr__(self, name: str) -> Any:
        # Reached only for what the object lacks.
        if name.startswith("_") or name not in {f.name for f in fields(self)}:
            raise AttributeError(f"{type(self).__name__} has no key {name}")
        raise UndeclaredKeyError(
            f"the key {name} of the section {type(self).__name__} is read by a stage that does "
            "not declare it in twofour/stages.py"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({as_dict(self)})"


def as_dict(section: Section) -> dict[str, Any]:
    """The keys that ``section`` holds, as plain values for JSON, in the order they are declared."""
    held = vars(section)
    return {
        f.name: as_dict(held[f.name]) if isinstance(held[f.name], Section) else held[f.name]
        for f in fields(section)
        if f.name in held
    }


def replaced(section: Any, **values: Any) -> Any:
    """A copy of ``section`` that holds other ``values`` under some of its keys."""
    result = object.__new__(type(section))
    vars(result).update({**vars(section), **values})
    return result


def build(kind: type, values: Mapping[str, Any]) -> Any:
    """A section of this ``kind`` that holds ``values``, which fit its schema, and no other key."""
    section: Any = object.__new__(kind)
    hints = _hints(kind)
    for name, value in values.items():
        if _is_section(hints[name]):
            value = build(hints[name], value)
        object.__setattr__(section, name, value)
    return section


def select(section: Section, keys: Iterable[str]) -> dict[str, Any]:
    """The part of a whole configuration that ``keys`` name: "model", or "data.root"."""
    part: dict[str, Any] = {}
    for entry in keys:
        name, _, inner = entry.partition(".")
        value = getattr(section, name)
        if inner:
            part.setdefault(name, {})[inner] = _plain(getattr(value, inner))
        else:
            part[name] = _plain(value)
    return part


def _plain(value: Any) -> Any:
    return as_dict(value) if isinstance(value, Section) else value


def decisive(section: Section) -> dict[str, Any]:
    """The keys of ``section`` that decide the outcome of a training."""
    held = vars(section)
    deciding = [f.name for f in fields(section) if f.metadata["decides"]]
    return {name: held[name] for name in deciding if name in held}


def names(kind: type) -> list[str]:
    """Names of the keys of a kind of section."""
    return [f.name for f in fields(kind)]


def is_text(kind: type, path: str) -> bool:
    """Whether the key ``path`` ("data.root") of the configuration ``kind`` is free text."""
    name, _, inner = path.partition(".")
    hint = _hints(kind).get(name)
    if inner:
        return hint is not None and _is_section(hint) and is_text(hint, inner)
    return hint is str or (hint is not None and set(typing.get_args(hint)) == {str, type(None)})


def schema(kind: type) -> dict[str, Any]:
    """The JSON schema of a kind of section, with a description and a default for each key."""
    hints = _hints(kind)
    properties = {f.name: _node(hints[f.name], f) for f in fields(kind)}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _hints(kind: type) -> dict[str, Any]:
    if "_known_hints" not in vars(kind):
        kind._known_hints = typing.get_type_hints(kind)  # type: ignore[attr-defined]
    return vars(kind)["_known_hints"]


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Section)


def _node(hint: Any, made: Field) -> dict[str, Any]:
    if _is_section(hint):
        return {**schema(hint), "default": {}}
    facts = made.metadata
    node = facts["schema"] or {**_of_type(hint, facts["items"]), **facts["ranges"]}
    assert made.default_factory is not None and callable(made.default_factory)
    return {"description": facts["meaning"], **node, "default": made.default_factory()}


def _of_type(hint: Any, items: dict) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        (inner,) = [a for a in arguments if a is not type(None)]
        node = _of_type(inner, items)
        return {**node, "type": [node["type"], "null"]}
    if origin is list:
        entry = {} if "enum" in items else _of_type(arguments[0], {})
        return {"type": "array", "items": {**entry, **items}}
    node = {"type": _PLAIN[hint]}
    return {**node, "minLength": 1} if hint is str else node
