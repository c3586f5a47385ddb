"""Paddle inference models on disk: a program (.pdmodel) and its weights (.pdiparams)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import paddle

from ..artifacts import PADDLE_MODEL, PADDLE_WEIGHTS
from ..system.errors import TwoFourError


def save(folder: Path, images: Any, result: Any, executor: Any, program: Any) -> None:
    """Write ``program`` from its input ``images`` to its output ``result``, and its weights.

    The weights are those of the scope in use. Equal networks give equal files.
    """
    prefix = str(folder / Path(PADDLE_MODEL).stem)
    paddle.static.save_inference_model(prefix, [images], [result], executor, program=program)
    _drop_call_stacks(folder / PADDLE_MODEL)


def load(folder: Path, executor: Any) -> tuple[Any, Any, Any]:
    """(program, its input, its output) of a folder; the weights come into the scope in use."""
    program, (images,), (result,) = paddle.static.load_inference_model(
        str(folder), executor, model_filename=PADDLE_MODEL, params_filename=PADDLE_WEIGHTS
    )
    return program, program.global_block().var(images), result


def operators(path: Path) -> list[Any]:
    """The operators of a program file."""
    return [op for block in _parsed(path).blocks for op in block.ops]


def require(path: Path) -> None:
    """Raise TwoFourError if the file is no Paddle program; to load some such files is a crash."""
    if not _parsed(path).blocks:
        raise TwoFourError(f"cannot read {path}: it is not a Paddle program")


def _parsed(path: Path) -> Any:
    from google.protobuf.message import DecodeError
    from paddle.base.proto import framework_pb2

    program = framework_pb2.ProgramDesc()
    try:
        program.ParseFromString(path.read_bytes())
    except OSError as error:
        raise TwoFourError(f"cannot read {path}: {error.strerror or error}") from error
    except DecodeError as error:
        raise TwoFourError(f"cannot read {path}: it is not a Paddle program") from error
    return program


def _drop_call_stacks(path: Path) -> None:
    """Remove from a Paddle model which line of whose code added each operator.

    PaddlePaddle writes that for its own error messages.
    """
    program = _parsed(path)
    for block in program.blocks:
        for op in block.ops:
            kept = [attribute for attribute in op.attrs if attribute.name != "op_callstack"]
            del op.attrs[:]
            op.attrs.extend(kept)
    path.write_bytes(program.SerializeToString(deterministic=True))
