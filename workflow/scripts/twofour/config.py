"""The configuration: loading, checking against the schema, filling in defaults."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from . import architecture, patterns
from .errors import TwoFourError
from .files import read_text

_EXPONENT = re.compile(r"[+-]?\d+[eE][+-]?\d+")
# Never numbers, whatever they look like.
TEXTS = ("run", "data.root", "train.init", "hardware.environment", "hardware.container")
SCHEMA = Path(__file__).resolve().parents[2] / "schemas" / "config.schema.yaml"


@functools.cache
def schema() -> dict:
    """The JSON schema of the configuration."""
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # every program and Snakemake read it
    return yaml.load(SCHEMA.read_text(encoding="utf-8"), fast)


def load(source: str) -> dict:
    """The configuration in ``source``, checked, with all defaults filled in.

    ``source`` is the name of a YAML or JSON file, or JSON text (anything that starts with "{").
    Raises TwoFourError with the full name of the key that is wrong.
    """
    inline = source.lstrip().startswith("{")
    text = source if inline else read_text(source)
    where = "--config" if inline else source
    try:
        value = json.loads(text) if inline else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise TwoFourError(f"--config is neither a file nor valid JSON: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "malformed"
        raise TwoFourError(f"{where} is not valid YAML{line}: {problem}") from error
    return validated({} if value is None else value)


def validated(config: Any) -> dict:
    """A checked copy of ``config`` with all defaults filled in.

    Raises TwoFourError in one sentence: the key's full name, what was given, what is allowed, and
    for an unknown key the known one that looks most like it.
    """
    if not isinstance(config, Mapping):
        raise TwoFourError(f"the configuration must be a mapping of keys, not {_shown(config)}")
    config = copy.deepcopy(dict(config))
    for section, value in config.items():  # "data:" with nothing below it means all defaults
        if value is None and section in schema()["properties"]:
            config[section] = copy.deepcopy(schema()["properties"][section].get("default"))
    config = _plain_numbers(config, "")
    errors = list(jsonschema.Draft202012Validator(schema()).iter_errors(config))
    if errors:
        # An unknown key first: it is the usual reason for whatever else is wrong.
        errors.sort(key=lambda e: (e.validator != "additionalProperties", list(map(str, e.path))))
        raise TwoFourError(_sentence(errors[0]))
    config = _whole_numbers(config, schema())
    _fill(config, schema())
    _check_consistency(config)
    return config


def from_command_line(entries: Any, key: str = "") -> Any:
    """Entries of Snakemake's --config with the types they mean.

    Snakemake leaves every value inside of train='{"epochs": 3}' a text, and makes a number of a
    run that is called 2026.
    """
    if isinstance(entries, Mapping):
        prefix = f"{key}." if key else ""
        return {name: from_command_line(v, f"{prefix}{name}") for name, v in entries.items()}
    if isinstance(entries, list):
        return [from_command_line(value, key) for value in entries]
    if key in TEXTS:
        return None if entries is None else str(entries)
    if isinstance(entries, str):
        with contextlib.suppress(yaml.YAMLError):
            return yaml.safe_load(entries)
    return entries


def select(config: Mapping, keys: Iterable[str]) -> dict:
    """The part of ``config`` that ``keys`` name: whole sections ("model") or keys ("data.root")."""
    part: dict = {}
    for key in keys:
        section, _, name = key.partition(".")
        if name:
            part.setdefault(section, {})[name] = config[section][name]
        else:
            part[section] = copy.deepcopy(config[section])
    return part


def compact(value: Any) -> str:
    """``value`` as one line of JSON, the same text for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain_numbers(value: Any, key: str) -> Any:
    """``value`` with numbers as YAML's users mean them; TwoFourError for one that is not finite.

    YAML 1.1 takes 1e-4, without a point, for a text; and NaN would pass every comparison.
    """
    if isinstance(value, str) and key not in TEXTS and _EXPONENT.fullmatch(value):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise TwoFourError(f"{key} is {value}, but must be a finite number")
    prefix = f"{key}." if key else ""
    if isinstance(value, Mapping):
        return {name: _plain_numbers(child, f"{prefix}{name}") for name, child in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(child, f"{prefix}{index}") for index, child in enumerate(value)]
    return value


def _whole_numbers(value: Any, node: dict) -> Any:
    """``value``, which fits the schema ``node``, with 24.0 as 24 where it wants whole numbers."""
    for option in node.get("oneOf", ()):
        if jsonschema.Draft202012Validator(option).is_valid(value):
            return _whole_numbers(value, option)
    if isinstance(value, float) and "integer" in _types(node):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict) and "properties" in node:
        known = node["properties"]
        return {name: _whole_numbers(child, known.get(name, {})) for name, child in value.items()}
    if isinstance(value, list) and "items" in node:
        return [_whole_numbers(child, node["items"]) for child in value]
    return value


def _types(node: dict) -> list[str]:
    types = node.get("type", "value")
    return [types] if isinstance(types, str) else types


def _fill(config: dict, node: dict) -> None:
    for name, child in node["properties"].items():
        if name not in config:
            config[name] = copy.deepcopy(child["default"])
        if "properties" in child:
            _fill(config[name], child)


def _check_consistency(config: dict) -> None:
    data = config["data"]
    if data["root"] is not None and set("\n\r\0") & set(data["root"]):
        raise TwoFourError("data.root has a line break in it; file lists cannot hold such a path")
    for key in ("crop_area", "crop_ratio"):
        low, high = data[key]
        if low > high:
            raise TwoFourError(f"data.{key}: the first number ({low}) is above the second ({high})")
    if data["resize"] < data["image_size"]:
        raise TwoFourError(
            f"data.resize ({data['resize']}) is below data.image_size ({data['image_size']}): "
            "the centre crop would not fit; raise data.resize or lower data.image_size"
        )
    _check_train_size(data)
    train = config["train"]
    if train["warmup_epochs"] > train["epochs"]:
        raise TwoFourError(
            f"train.warmup_epochs ({train['warmup_epochs']}) is above train.epochs "
            f"({train['epochs']}): lower the first or raise the second"
        )
    # Known before the images are read: names and inputs do not depend on the number of classes.
    network = architecture.resnet(config["model"], classes=2)
    given = {key: config["sparsity"][key] for key in ("include", "exclude")}
    for key, names in given.items():
        patterns.require(names, network.weights, f"sparsity.{key}", network.name)


def _check_train_size(data: dict) -> None:
    sizes = data["train_size"]
    if not isinstance(sizes, list):
        return
    epochs = [epoch for epoch, _ in sizes]
    if epochs[0] != 1 or epochs != sorted(set(epochs)):
        raise TwoFourError(
            f"data.train_size begins with epochs {', '.join(map(str, epochs))}: the first must be "
            "1 and each later than the one before"
        )
    for _, size in sizes:
        if not 8 <= size <= 1024:
            raise TwoFourError(f"data.train_size has the size {size}; it must be from 8 to 1024")


def require_root(config: dict) -> str:
    """The folder with the user's images, ``data.root``; TwoFourError if none is named."""
    if config["data"]["root"] is None:
        raise TwoFourError(
            "data.root is missing: name the folder with your images, "
            "or set data.source to digits for the built-in ones"
        )
    return config["data"]["root"]


def require_files(config: dict) -> None:
    """Raise TwoFourError if a file or folder that the configuration names is not there."""
    init, environment = config["train"]["init"], config["hardware"]["environment"]
    if init is not None and not Path(init).is_file():
        raise TwoFourError(f"train.init: there is no file {init}")
    if environment is not None and not Path(environment, "bin", "python").is_file():
        raise TwoFourError(
            f"hardware.environment: {environment} is no Python environment (it has no bin/python); "
            "make gpu-environment makes one"
        )
    image = config["hardware"]["container"]
    if image is not None and "://" not in image and not Path(image).is_file():
        raise TwoFourError(f"hardware.container: there is no file {image}")


def _sentence(error: jsonschema.ValidationError) -> str:
    key = ".".join(map(str, error.absolute_path)) or "the configuration"
    node = error.schema
    if error.validator == "additionalProperties":
        unknown = sorted(str(k) for k in set(error.instance) - set(node["properties"]))[0]
        full = f"{key}.{unknown}" if error.absolute_path else unknown
        hint = patterns.suggestion(unknown, node["properties"])
        if not hint:
            hint = f"; known here: {', '.join(node['properties'])}"
        return f"unknown key {full}{hint}"
    return f"{key} is {_shown(error.instance)}, but must be {_allowed(node)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _allowed(node: dict) -> str:
    """What a schema node accepts, in words."""
    if "enum" in node:
        return "one of " + ", ".join(map(str, node["enum"]))
    if "const" in node:
        return str(node["const"])
    if "oneOf" in node:
        return " or ".join(_allowed(option) for option in node["oneOf"])
    names = []
    for kind in _types(node):
        if kind in ("number", "integer"):
            names.append(_number_words(kind, node))
        elif kind == "array":
            names.append(_list_words(node))
        elif kind == "string" and "pattern" in node:
            names.append(
                "a name of letters, digits, '.', '_' and '-' that starts with a letter or digit"
            )
        elif kind == "string":
            names.append("a text that is not empty")
        else:
            words = {"null": "null", "boolean": "true or false", "object": "a mapping of keys"}
            names.append(words[kind])
    return " or ".join(names)


def _number_words(kind: str, node: dict) -> str:
    bounds = []
    if "minimum" in node:
        bounds.append(f"at least {node['minimum']}")
    if "exclusiveMinimum" in node:
        bounds.append(f"above {node['exclusiveMinimum']}")
    if "maximum" in node:
        bounds.append(f"at most {node['maximum']}")
    if "exclusiveMaximum" in node:
        bounds.append(f"below {node['exclusiveMaximum']}")
    noun = "a whole number" if kind == "integer" else "a number"
    return " ".join([noun, " and ".join(bounds)]).strip()


def _list_words(node: dict) -> str:
    low, high = node.get("minItems", 0), node.get("maxItems")
    count = f"{low}" if low == high else f"{low} or more" if low else "any number"
    distinct = ", each once" if node.get("uniqueItems") else ""
    return f"a list of {count} entries{distinct}, each {_allowed(node['items'])}"
