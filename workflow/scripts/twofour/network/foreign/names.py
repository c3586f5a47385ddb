"""What other libraries call the layers of a ResNet, and the networks among them that differ.

Each scheme maps our names (:mod:`twofour.network.architecture`) to those of a library. A file that
fits none, or holds more than the scheme knows, is of a network whose arithmetic differs from ours,
and is refused: by name, where the variant is a known one.

Sources: torchvision/models/resnet.py; timm/models/resnet.py; transformers,
models/resnet/modeling_resnet.py; paddle/vision/models/resnet.py; PaddleClas,
ppcls/arch/backbone/legendary_models/resnet.py (release 2.3 and later) and its release 2.0; the
static models of PaddleHub and PaddleCV.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...system.errors import TwoFourError
from ...system.files import PathLike
from ..architecture import (
    CLASSIFIER,
    CLASSIFIER_BIAS,
    NORM_PARTS,
    RESNETS,
    STAGE_CHANNELS,
    Architecture,
)


@dataclass(frozen=True)
class Layer:
    """A convolution: in the stem (``stage`` 0), or number ``index`` (from 0) of a block.

    ``stage`` counts from 1 and ``block`` from 0; ``index`` is None for a shortcut. ``flat`` is the
    block's number over all stages, ``stages`` the blocks of each.
    """

    stage: int
    block: int
    index: int | None
    flat: int
    stages: tuple[int, ...]


@dataclass(frozen=True)
class Scheme:
    """The names of ``library``; ``marker`` is a name that only its files hold.

    ``conv`` and ``norm`` give the name of a convolution's weight and the beginning of the names of
    its batch norm, whose ``parts`` are those of NORM_PARTS. ``outputs_first`` says that the
    classifier's weight is [out, in].
    """

    library: str
    marker: str
    conv: Callable[[Layer], str]
    norm: Callable[[Layer], str]
    parts: tuple[str, str, str, str]
    classifier: tuple[str, str]
    outputs_first: bool = True
    prefix: str = ""
    ignored: re.Pattern = field(default=re.compile(r".*num_batches_tracked"))


_TORCH_PARTS = (".weight", ".bias", ".running_mean", ".running_var")
_PADDLE_PARTS = (".weight", ".bias", "._mean", "._variance")


def _named(stem: str, block: str, conv: str, shortcut: str) -> Callable[[Layer], str]:
    """The name of a layer from its parts: that of the ``stem``, or of a ``block`` and what follows.

    ``block`` may have {stage} from 1, {stage0} from 0, {block} and {flat}; ``conv`` {index} from 1
    and {index0} from 0.
    """

    def name(layer: Layer) -> str:
        if layer.stage == 0:
            return stem
        head = block.format(
            stage=layer.stage, stage0=layer.stage - 1, block=layer.block, flat=layer.flat
        )
        if layer.index is None:
            return head + shortcut
        return head + conv.format(index=layer.index + 1, index0=layer.index)

    return name


def _torch(conv: str, shortcut: str) -> Callable[[Layer], str]:
    return _named(conv.format(index=1), "layer{stage}.{block}.", conv, shortcut)


def _transformers(ending: str) -> Callable[[Layer], str]:
    head = "encoder.stages.{stage0}.layers.{block}."
    return _named(
        f"embedder.embedder.{ending}", head, f"layer.{{index0}}.{ending}", f"shortcut.{ending}"
    )


def _clas(stem: str, block: str, ending: str) -> Callable[[Layer], str]:
    return _named(f"{stem}.{ending}", block, f"conv{{index0}}.{ending}", f"short.{ending}")


def _static(layer: Layer) -> str:
    """res4b22_branch2a: the blocks are letters, but in the third stage of deep networks b1, b2."""
    if layer.stage == 0:
        return "conv1"
    block = chr(ord("a") + layer.block)
    if layer.stage == 3 and layer.stages[2] > 6:
        block = "a" if layer.block == 0 else f"b{layer.block}"
    branch = "1" if layer.index is None else f"2{chr(ord('a') + layer.index)}"
    return f"res{layer.stage + 1}{block}_branch{branch}"


def _static_norm(layer: Layer) -> str:
    name = _static(layer)
    return f"bn_{name}" if layer.stage == 0 else f"bn{name.removeprefix('res')}"


SCHEMES = (
    Scheme(
        "torchvision or timm",
        "layer1.0.bn1.running_mean",
        _torch("conv{index}.weight", "downsample.0.weight"),
        _torch("bn{index}", "downsample.1"),
        _TORCH_PARTS,
        ("fc.weight", "fc.bias"),
    ),
    Scheme(
        "paddle.vision",
        "layer1.0.bn1._mean",
        _torch("conv{index}.weight", "downsample.0.weight"),
        _torch("bn{index}", "downsample.1"),
        _PADDLE_PARTS,
        ("fc.weight", "fc.bias"),
        outputs_first=False,
    ),
    *(
        Scheme(
            "transformers",
            f"{prefix}encoder.stages.0.layers.0.layer.0.normalization.running_mean",
            _transformers("convolution.weight"),
            _transformers("normalization"),
            _TORCH_PARTS,
            ("classifier.1.weight", "classifier.1.bias"),
            prefix=prefix,
        )
        for prefix in ("resnet.", "")
    ),
    Scheme(
        "PaddleClas",
        "blocks.0.conv0.bn._mean",
        _clas("stem.0", "blocks.{flat}.", "conv.weight"),
        _clas("stem.0", "blocks.{flat}.", "bn"),
        _PADDLE_PARTS,
        ("fc.weight", "fc.bias"),
        outputs_first=False,
    ),
    Scheme(
        "PaddleClas 2.0",
        "bb_0_0.conv0._batch_norm._mean",
        _clas("conv", "bb_{stage0}_{block}.", "_conv.weight"),
        _clas("conv", "bb_{stage0}_{block}.", "_batch_norm"),
        _PADDLE_PARTS,
        ("out.weight", "out.bias"),
        outputs_first=False,
    ),
    Scheme(
        "PaddleHub or static PaddlePaddle",
        "bn2a_branch2a_mean",
        lambda layer: f"{_static(layer)}_weights",
        _static_norm,
        ("_scale", "_offset", "_mean", "_variance"),
        ("fc_0.w_0", "fc_0.b_0"),
        outputs_first=False,
    ),
)

# Names that only networks with other arithmetic have, and what they are.
_VARIANTS = {
    r"(conv1\.[03]|stem\.[12]\.conv|conv1_[123]\._conv)\.weight$|conv1_[123]_weights$": (
        "a stem of three convolutions (ResNet-C, -D, _vc, _vd)"
    ),
    r".*\.(se|se_module|se_layer|attn|eca|cbam)\.": (
        "squeeze-and-excitation or attention in its blocks"
    ),
    r".*\.gn\d?\.|.*\.ls\d?\.gamma": "another normalisation in its blocks",
    r"(stages\.\d+\.blocks\.\d+\.norm1|.*preact)": "pre-activation blocks (ResNet v2)",
    r"(stages_\d+\.|s\d+\.b\d+\.|trunk_output)": "RegNet's blocks",
}


def bare(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``arrays`` without the beginning "module." that data-parallel training of PyTorch leaves."""
    if arrays and all(name.startswith("module.") for name in arrays):
        return {name.removeprefix("module."): array for name, array in arrays.items()}
    return dict(arrays)


def require_v1_5(path: PathLike) -> None:
    """Raise TwoFourError if a config.json beside ``path`` (transformers) says that it is v1.

    Weights do not show where the stride is: in the 3×3 convolution of a block, or in its first.
    """
    beside = Path(path).parent / "config.json"
    try:
        given = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if not isinstance(given, dict):
        return
    kind = str(given.get("architecture", ""))  # of timm's files
    if kind and not re.fullmatch(
        r"((tv_)?resnet(18|34|50|101|152)|wide_resnet(50|101)_2)(\..*)?", kind
    ):
        raise TwoFourError(f"{path} is a {kind}, as {beside} says, and no plain ResNet v1.5")
    if given.get("model_type") != "resnet":
        return
    if given.get("downsample_in_bottleneck"):
        raise TwoFourError(
            f"{path} is a ResNet v1 (downsample_in_bottleneck in {beside}): its stride is in the "
            "first convolution of a block, in ours in the 3×3 one; take the weights of a v1.5"
        )
    if given.get("hidden_act", "relu") != "relu" or given.get("downsample_in_first_stage"):
        raise TwoFourError(f"{path} is another ResNet than ours, as {beside} says")


def recognise(names: Iterable[str], path: object) -> Scheme | None:
    """The scheme that the ``names`` in the file ``path`` follow; None for ours.

    Raises TwoFourError if it is no ResNet, or one with other arithmetic.
    """
    known = set(names)
    if "layer1.0.bn1.mean" in known:
        return None
    for pattern, what in _VARIANTS.items():
        found = sorted(name for name in known if re.match(pattern, name))
        if found:
            raise TwoFourError(
                f"{path} holds {what}, as {found[0]} shows: its arithmetic is not that of a plain "
                "ResNet v1.5, the only one that TwoFour builds; take the weights of one"
            )
    for scheme in SCHEMES:
        if scheme.marker in known:
            return scheme
    some = ", ".join(sorted(known)[:3])
    raise TwoFourError(
        f"{path} holds no ResNet whose names TwoFour knows ({some} …): it reads those of "
        "torchvision, timm, transformers, paddle.vision, PaddleClas, PaddleHub and its own"
    )


def layers(network: Architecture) -> dict[str, Layer]:
    """{name of a convolution of ours: where it is}."""
    stages = tuple(
        len({c.name.split(".")[1] for c in network.convs if c.name.startswith(f"layer{s}.")})
        for s in range(1, len(STAGE_CHANNELS) + 1)
    )
    found = {network.stem.name: Layer(0, 0, 0, 0, stages)}
    for conv in network.convs[1:]:
        head, block, last = conv.name.split(".", 2)
        stage = int(head.removeprefix("layer"))
        index = None if last.startswith("shortcut") else int(last.removeprefix("conv")) - 1
        flat = sum(stages[: stage - 1]) + int(block)
        found[conv.name] = Layer(stage, int(block), index, flat, stages)
    return found


def table(scheme: Scheme, network: Architecture) -> dict[str, str]:
    """{our name: the scheme's} of all weights and statistics of ``network``."""
    where, names = layers(network), {}
    for conv in network.convs:
        layer = where[conv.name]
        names[conv.weight] = scheme.prefix + scheme.conv(layer)
        norm = scheme.prefix + scheme.norm(layer)
        names.update(
            {f"{conv.norm}.{ours}": norm + part for ours, part in zip(NORM_PARTS, scheme.parts)}
        )
    return {**names, CLASSIFIER: scheme.classifier[0], CLASSIFIER_BIAS: scheme.classifier[1]}


def translate(
    scheme: Scheme, arrays: Mapping[str, np.ndarray], network: Architecture, path: object
) -> dict[str, np.ndarray]:
    """The ``arrays`` of the file ``path`` under our names, as ``network`` holds them.

    A classifier that the file lacks is left out. Raises TwoFourError if the file holds weights
    that ``network`` does not, since then it is another network.
    """
    names = table(scheme, network)
    found = {ours: arrays[theirs] for ours, theirs in names.items() if theirs in arrays}
    more = sorted(set(arrays) - set(names.values()))
    more = [name for name in more if not scheme.ignored.fullmatch(name)]
    if more:
        raise TwoFourError(
            f"{path} ({scheme.library}) holds {len(more)} weights that {network.name} of the "
            f"configuration does not have, such as {more[0]}: {_difference(more, network)}"
        )
    if CLASSIFIER in found and scheme.outputs_first and found[CLASSIFIER].ndim == 2:
        found[CLASSIFIER] = found[CLASSIFIER].T
    return found


def _difference(more: list[str], network: Architecture) -> str:
    if any(".downsample.2." in name for name in more):
        return "its shortcuts pool before they convolve (ResNet-D), which TwoFour does not build"
    if any("conv3" in name or "branch2c" in name or "layer.2." in name for name in more):
        return "it has bottleneck blocks; set model.name to resnet50, resnet101 or resnet152"
    return f"it is deeper or wider; set model.name to one of {', '.join(RESNETS)}, or model.blocks"
