"""Mixed precision in PaddlePaddle's static graph: asking for it, and checking what a program does.

P. Micikevicius et al., "Mixed Precision Training", arXiv 1710.03740: half-precision arithmetic,
weights kept in fp32 (section 3.1), a scaled loss (section 3.2).
"""

from __future__ import annotations

import collections

import paddle
from paddle.base import core
from paddle.static.amp.fp16_lists import AutoMixedPrecisionLists

from ..system import paddle_versions
from ..system.errors import TwoFourError
from . import precision as precisions
from .settings import Train

# The operators of a residual network. Listed here, since a build of PaddlePaddle for CPUs assumes
# that none can run in half precision, and then silently leaves all of them in fp32.
OPERATORS = {
    *("conv2d", "matmul", "matmul_v2", "mul", "batch_norm", "relu", "elementwise_add"),
    *("pool2d", "flatten_contiguous_range", "reshape2"),
}
COMPUTING = ("conv2d", "mul", "matmul_v2")
_GROW_AFTER = 2000  # steps with finite gradients, until a dynamic loss scale doubles

_NAMES = {
    core.VarDesc.VarType.FP16: "fp16",
    core.VarDesc.VarType.BF16: "bf16",
    core.VarDesc.VarType.FP32: "fp32",
    core.VarDesc.VarType.FP64: "fp64",
}


def decorate(optimizer, precision: str, train: Train):
    """``optimizer`` for mixed precision, with the loss scaling of the config's section ``train``.

    bf16 has the range of fp32, so it needs no scaling and gets none.
    """
    level, dtype = precisions.LEVELS[precision]
    lists = AutoMixedPrecisionLists(dtype=dtype)
    lists.unsupported_list -= OPERATORS
    scaled = dtype == "float16"
    paddle_versions.mend_loss_scaling()
    return paddle.static.amp.decorate(
        optimizer,
        amp_lists=lists,
        level=level,
        dtype=dtype,
        master_weight=True if level == "O2" else None,
        init_loss_scaling=float(train.loss_scale) if scaled else 1.0,
        use_dynamic_loss_scaling=scaled and train.dynamic_loss_scaling,
        incr_every_n_steps=_GROW_AFTER,
        decr_every_n_nan_or_inf=1,
        use_amp_guard=level == "O2",
    )


def guard():
    """Marks the part of a program that level O2 may put into half precision."""
    return paddle.static.amp.fp16_guard()


def arithmetic(program: paddle.static.Program) -> dict[str, dict[str, int]]:
    """How many operators of each kind read their data in which type: {"conv2d": {"fp16": 53}}."""
    found: dict[str, collections.Counter] = {}
    block = program.global_block()
    for op in block.ops:
        for slot in ("Input", "X", "Logits"):
            if slot in op.input_names and op.input(slot):
                kind = _NAMES.get(block.var(op.input(slot)[0]).dtype)
                if kind:
                    found.setdefault(op.type, collections.Counter())[kind] += 1
                break
    return {op: dict(kinds) for op, kinds in sorted(found.items())}


def precision(program: paddle.static.Program, weights: list[str], tf32: bool = False) -> str:
    """The precision in which ``program`` really trains the convolution ``weights``.

    Read from its operators and variables; ``tf32`` says whether fp32 arithmetic may round to TF32.
    Raises TwoFourError if some convolutions run in another type than the others.
    """
    counts = arithmetic(program)
    kinds = {kind for op in COMPUTING for kind in counts.get(op, {})}
    if len(kinds) != 1:
        raise TwoFourError(
            f"the training graph mixes {', '.join(sorted(kinds))} in its convolutions; this is a "
            "bug in the program, please report it"
        )
    (kind,) = kinds
    if kind == "fp32":
        return "tf32" if tf32 else "fp32"
    if kind == "bf16":
        return "amp_bf16"
    block = program.global_block()
    held = {_NAMES[block.var(name).dtype] for name in weights}
    return "pure_fp16" if held == {"fp16"} else "amp_fp16"
