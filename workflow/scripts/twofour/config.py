"""The configuration: its sections combined, loading, checking, one-sentence errors."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import models
from .data.settings import Data
from .deploy.backends import AUTO, INT8
from .deploy.settings import Benchmark, Deploy, Evaluation
from .network import architecture
from .network.settings import Model, changes
from .quantization.settings import Quantization
from .report.settings import Accept, Release
from .sparse.settings import Sparsity
from .system import patterns, sections, yamltext
from .system.errors import TwoFourError
from .system.files import PathLike
from .system.sections import Section, key
from .system.settings import Hardware
from .train.settings import Dense, Train

if TYPE_CHECKING:
    import jsonschema

_PATHS = (
    ("data", "root"),
    ("dense", "weights"),
    ("train", "init"),
    ("hardware", "environment"),
    ("hardware", "container"),
)
_SEED = {"type": "integer", "minimum": 0, "maximum": 2147483647}
_EXPONENT = re.compile(r"[+-]?\d+[eE][+-]?\d+")


@dataclass(frozen=True, repr=False)
class Config(Section):
    """The whole configuration of a run, or the part of it that a stage declares."""

    run: str = key(
        "default",
        "name of this experiment; its results go to results/<run>/",
        schema={"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"},
    )
    seed: Any = key(
        1,
        "seeds the initial weights, the shuffling and the augmentation (data.split_seed seeds the "
        "validation split); a list trains everything once for each, and the verdict is about the "
        "means",
        schema={
            "oneOf": [
                _SEED,
                {"type": "array", "minItems": 1, "uniqueItems": True, "items": _SEED},
            ]
        },
    )
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    dense: Dense = field(default_factory=Dense)
    train: Train = field(default_factory=Train)
    sparsity: Sparsity = field(default_factory=Sparsity)
    quantization: Quantization = field(default_factory=Quantization)
    deploy: Deploy = field(default_factory=Deploy)
    evaluation: Evaluation = field(default_factory=Evaluation)
    benchmark: Benchmark = field(default_factory=Benchmark)
    accept: Accept = field(default_factory=Accept)
    release: Release = field(default_factory=Release)
    rivals: list = key(
        [],
        "other dense networks to put beside the sparse one, each by what its model section differs "
        "in, as in [{model: {width: 0.75}}]; trained like the dense one, from random weights",
        schema={
            "type": "array",
            "uniqueItems": True,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["model"],
                "properties": {"model": changes()},
            },
        },
    )
    hardware: Hardware = field(default_factory=Hardware)


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON schema of the configuration, made from its sections."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **sections.schema(Config),
    }


def load(source: str, keys: Iterable[str] | None = None, trusted: bool = False) -> Config:
    """The configuration in ``source``, checked, with all defaults filled in.

    ``source`` is the name of a YAML or JSON file, or JSON text (anything that starts with "{"),
    which may be ``trusted`` to be part of a configuration that was checked. With ``keys`` ("data",
    "train.epochs") the result holds these alone, and reading another one is an error. Raises
    TwoFourError with the full name of the key that is wrong.
    """
    if not source.lstrip().startswith("{"):
        return validated(read(source), keys)
    if trusted:
        return _complete(json.loads(source), keys)
    return validated(_parse(source, "--config"), keys)


def read(path: PathLike, *more: PathLike, entries: Iterable[str] = ()) -> Any:
    """What the YAML or JSON file ``path`` says, unchecked.

    Each of ``more`` files overwrites what the ones before say, key by key, and so do the
    ``entries`` of a command line ("run=flowers", 'train={"epochs": 3}'). Raises TwoFourError with
    the line and column of what is not YAML.
    """
    result: Any = {}
    for file in (path, *more):
        result = _updated(result, _parse(_text(file), str(file)))
    for entry in entries:
        name, _, value = entry.partition("=")
        given = _parse(value, f"--config {name}", name)
        result = _updated(result, {name: given})
    return result


def _text(path: PathLike) -> str:
    try:
        return yamltext.decoded(Path(path).read_bytes(), str(path))
    except FileNotFoundError as error:
        raise TwoFourError(f"{path} does not exist") from error
    except OSError as error:
        raise TwoFourError(f"cannot read {path}: {error.strerror or error}") from error


def _parse(text: str, where: str, key: str = "") -> Any:
    value = yamltext.parse(text, where, functools.partial(sections.is_text, Config), key)
    return {} if value is None and not key else value


def _updated(value: Any, change: Any) -> Any:
    """``value`` with what ``change`` says, mappings key by key."""
    if not isinstance(value, Mapping) or not isinstance(change, Mapping):
        return change
    merged = {name: _updated(value.get(name), child) for name, child in change.items()}
    return {**value, **merged}


def validated(config: Any, keys: Iterable[str] | None = None) -> Config:
    """The configuration that ``config``, nested mappings, describes, with all defaults filled in.

    With ``keys`` only the part that they name; the other keys are checked one by one, and dropped.

    Raises TwoFourError in one sentence: the key's full name, what was given, what is allowed, and
    for an unknown key the known one that looks most like it.
    """
    if not isinstance(config, Mapping):
        raise TwoFourError(f"the configuration must be a mapping of keys, not {_shown(config)}")
    values = copy.deepcopy(dict(config))
    for section, value in values.items():  # "data:" with nothing below it means all defaults
        if value is None and section in schema()["properties"]:
            values[section] = copy.deepcopy(schema()["properties"][section].get("default"))
    values = _plain_numbers(values, "")
    import jsonschema  # takes longer to load than many a job, which gets what has been checked

    errors = list(jsonschema.Draft202012Validator(schema()).iter_errors(values))
    if errors:
        # An unknown key first: it is the usual reason for whatever else is wrong.
        errors.sort(key=lambda e: (e.validator != "additionalProperties", list(map(str, e.path))))
        raise TwoFourError(_sentence(errors[0]))
    return _complete(_whole_numbers(values, schema()), keys)


def _complete(values: dict[str, Any], keys: Iterable[str] | None) -> Config:
    """The configuration of ``values``, which fit the schema, with all defaults, consistent."""
    _fill(values, schema())
    _expand(values)
    result: Config = sections.build(Config, values)
    if keys is not None:
        result = sections.build(Config, sections.select(result, keys))
    for check in _CONSISTENCY:
        with contextlib.suppress(sections.UndeclaredKeyError):  # of what is held only in part
            check(result)
    return result


def of_rival(config: Config, given: Mapping) -> Config:
    """The configuration by which one of ``config.rivals`` is made, as if it were the dense one."""
    return sections.replaced(
        config,
        model=sections.replaced(config.model, **given["model"]),
        dense=sections.replaced(config.dense, weights=None),
        train=sections.replaced(config.train, init=None, freeze_stem=False),
    )


def rivals(config: Config) -> dict[str, Model]:
    """{rival: the section model that it has}."""
    return {
        models.rival_name(given["model"]): of_rival(config, given).model for given in config.rivals
    }


def compact(value: Any) -> str:
    """``value`` as one line of JSON, the same text for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain_numbers(value: Any, key: str) -> Any:
    """``value`` with numbers as users of YAML mean them; TwoFourError for one that is not finite.

    YAML 1.1 reads 1e-4, which has no decimal point, as a string; and NaN would pass every check.
    """
    if isinstance(value, str) and _EXPONENT.fullmatch(value) and not sections.is_text(Config, key):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise TwoFourError(f"{key} is {value}, but must be a finite number")
    prefix = f"{key}." if key else ""
    if isinstance(value, Mapping):
        # A class may be called 7, which YAML reads as a number.
        return {
            str(name): _plain_numbers(child, f"{prefix}{name}") for name, child in value.items()
        }
    if isinstance(value, list):
        return [_plain_numbers(child, f"{prefix}{index}") for index, child in enumerate(value)]
    return value


def _whole_numbers(value: Any, node: dict) -> Any:
    """``value``, which fits the schema ``node``, with 24.0 as 24 where integers are required."""
    import jsonschema

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


def _expand(values: dict) -> None:
    """Replace ~ and variables of the environment in the keys that name files and folders."""
    for section, name in _PATHS:
        if isinstance(path := values[section][name], str):
            # Path would spoil docker://image.
            values[section][name] = os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111


def _check_root(config: Config) -> None:
    root = config.data.root
    if root is not None and set("\n\r\0") & set(root):
        raise TwoFourError("data.root has a line break in it; file lists cannot hold such a path")


def _check_crops(config: Config) -> None:
    data = config.data
    for name, (low, high) in (("crop_area", data.crop_area), ("crop_ratio", data.crop_ratio)):
        if low > high:
            raise TwoFourError(
                f"data.{name}: the first number ({low}) is above the second ({high})"
            )


def _check_sizes(config: Config) -> None:
    data = config.data
    if data.resize < data.image_size:
        raise TwoFourError(
            f"data.resize ({data.resize}) is below data.image_size ({data.image_size}): "
            "the centre crop would not fit; raise data.resize or lower data.image_size"
        )


def _check_warmup(config: Config) -> None:
    train = config.train
    if train.warmup_epochs > train.epochs:
        raise TwoFourError(
            f"train.warmup_epochs ({train.warmup_epochs}) is above train.epochs "
            f"({train.epochs}): lower the first or raise the second"
        )


def _check_start(config: Config) -> None:
    if config.dense.weights is not None and config.train.init is not None:
        raise TwoFourError(
            "dense.weights and train.init are both set: the first is a finished network, which is "
            "not trained, the second a start for the training; leave out one of them"
        )


def _check_training(config: Config) -> None:
    train = config.train
    if train.freeze_stem and train.init is None and config.dense.weights is None:
        raise TwoFourError(
            "train.freeze_stem is true, but a stem of random weights must be trained: name "
            "pretrained ones in train.init, or set it to false"
        )
    if train.distill and train.precision == "pure_fp16":
        raise TwoFourError(
            "train.distill does not work with train.precision pure_fp16; take amp_fp16 or amp_bf16"
        )


def _check_patterns(config: Config) -> None:
    # Known before the images are read: names and inputs do not depend on the number of classes.
    network = architecture.resnet(config.model, classes=2)
    sparsity = config.sparsity
    for name, patterned in (
        ("sparsity.include", sparsity.include),
        ("sparsity.exclude", sparsity.exclude),
        ("quantization.exclude", config.quantization.exclude),
    ):
        patterns.require(patterned, network.weights, name, network.name)


def _check_quantization(config: Config) -> None:
    precisions = config.deploy.precisions
    if config.quantization.method == "qat" and INT8 not in precisions and precisions != AUTO:
        raise TwoFourError(
            "quantization.method is qat, but deploy.precisions does not list int8, for which such "
            "trainings are; add it, or set the method to ptq"
        )


def _check_train_size(config: Config) -> None:
    sizes = config.data.train_size
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


def _check_choice(config: Config) -> None:
    budget, images = config.sparsity.choose.max_top1_drop, config.sparsity.images
    if budget and budget < 100 / images:
        raise TwoFourError(
            f"sparsity.choose.max_top1_drop is {budget:g}, which is less than one of the "
            f"{images} images that it is measured on; raise sparsity.images to "
            f"{math.ceil(100 / budget)} or more"
        )


def _check_rivals(config: Config) -> None:
    known = {"the section model": sections.as_dict(config.model)}
    for number, given in enumerate(config.rivals):
        model = of_rival(config, given).model
        described = sections.as_dict(model)
        for where, other in known.items():
            if other == described:
                raise TwoFourError(
                    f"rivals.{number}.model is the same network as {where}; change it or leave it "
                    "out"
                )
        known[f"rivals.{number}"] = described
        architecture.resnet(model, classes=2)


_CONSISTENCY = (
    _check_choice,
    _check_rivals,
    _check_root,
    _check_crops,
    _check_sizes,
    _check_train_size,
    _check_warmup,
    _check_start,
    _check_training,
    _check_patterns,
    _check_quantization,
)


def require_files(config: Config) -> None:
    """Raise TwoFourError if a file or folder that the configuration names is not there."""
    hardware = config.hardware
    for name, path in (("train.init", config.train.init), ("dense.weights", config.dense.weights)):
        if path is None:
            continue
        if not Path(path).is_file():
            raise TwoFourError(f"{name}: there is no file {Path(path).absolute()}")
        own = Path("results", config.run).resolve()
        if Path(path).resolve().is_relative_to(own):
            raise TwoFourError(
                f"{name}: {path} belongs to this run and would be replaced by it; give the run "
                "another name (run), or copy the file elsewhere"
            )
    environment, image = hardware.environment, hardware.container
    if environment is not None and not Path(environment, "bin", "python").is_file():
        raise TwoFourError(
            f"hardware.environment: {environment} is not a Python environment (it has no "
            "bin/python); run make gpu-environment to create one"
        )
    if image is not None and "://" not in image and not Path(image).is_file():
        raise TwoFourError(f"hardware.container: there is no file {image}")


def _sentence(error: jsonschema.ValidationError) -> str:
    key = ".".join(map(str, error.absolute_path)) or "the configuration"
    node: Any = error.schema
    given: Any = error.instance
    if error.validator == "additionalProperties":
        unknown = sorted(str(k) for k in set(given) - set(node["properties"]))[0]
        full = f"{key}.{unknown}" if error.absolute_path else unknown
        return f"unknown key {full}{_hint(unknown, full, node['properties'])}"
    if error.validator == "uniqueItems":
        return f"{key} is {_shown(given)}, which names something twice"
    if error.validator == "required":
        return f"{key} lacks the key {', '.join(node['required'])}"
    if error.validator == "minProperties":
        return f"{key} is empty; give it one of {', '.join(node['properties'])}"
    return f"{key} is {_shown(given)}, but must be {allowed(node)}"


def _hint(unknown: str, full: str, here: Iterable[str]) -> str:
    """Which key was meant by an ``unknown`` one: here, elsewhere, or written with a dot."""
    known = _full_names()
    if full in known:  # "train.epochs: 3" at the top of a file
        section, _, name = full.partition(".")
        return f"; write {section}: {{{name}: …}}"
    elsewhere = [name for name in known if name.rpartition(".")[2] == unknown]
    if elsewhere:
        return f"; did you mean {' or '.join(elsewhere)}?"
    prefix = full[: -len(unknown)]
    leaves = {name.rpartition(".")[2] for name in known}
    if near := patterns.nearest(unknown, here, cutoff=0.8):
        return f"; did you mean {prefix}{near}?"
    if far := patterns.nearest(unknown, leaves, cutoff=0.8):
        return _hint(far, prefix + far, here)
    if near := patterns.nearest(unknown, here):
        return f"; did you mean {prefix}{near}?"
    return f"; known here: {', '.join(here)}"


def _full_names() -> list[str]:
    """All sections and keys: train, train.epochs …"""
    names = []
    for section, node in schema()["properties"].items():
        names += [section, *(f"{section}.{name}" for name in node.get("properties", ()))]
    return names


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def allowed(node: dict) -> str:
    """What a node of the schema accepts, in words."""
    if "enum" in node:
        return "one of " + ", ".join(map(str, node["enum"]))
    if "const" in node:
        return str(node["const"])
    if "oneOf" in node:
        return " or ".join(allowed(option) for option in node["oneOf"])
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
    return f"a list of {count} entries{distinct}, each {allowed(node['items'])}"
