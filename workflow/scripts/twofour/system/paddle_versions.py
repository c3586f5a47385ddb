"""What differs between PaddlePaddle 2.6 and 3, in one place.

Both run our static graphs as programs of operators with named variables, 2.6's only form. Version 3
has a new form (PIR) and makes it unless told otherwise. Under the old one a few of its functions
fail, since they know only the new one; here the operators are added that 2.6 adds.
"""

from __future__ import annotations

import warnings
from typing import Any

# Read when PaddlePaddle is loaded; 2.6 knows it, too, and its own value is 0.
FLAGS = {"FLAGS_enable_pir_api": "0"}
_CONNECT_S = 3600  # as long as 2.6 waits for the other processes
_RING_0 = "0"  # the communicator of all processes


def hide_notices() -> None:
    """Keep version 3 from warning users of functions that it has, but may drop one day."""
    warnings.filterwarnings("ignore", r"\x1b\[93m\s*Warning:\s*API \"paddle", UserWarning)


def is_finite(x: Any) -> Any:
    """Whether each element of ``x`` is a number; False for NaN and infinite ones."""
    return _operator("isfinite_v2", {"X": x}, "bool")


def total(x: Any, axis: int) -> Any:
    """The sum of ``x`` along ``axis``."""
    return _operator("reduce_sum", {"X": x}, x.dtype, {"dim": [axis], "keep_dim": False}, "sum")


def product(x: Any, y: Any) -> Any:
    """The matrix product of ``x`` and ``y``."""
    return _operator("matmul_v2", {"X": x, "Y": y}, x.dtype, {"trans_x": False, "trans_y": False})


def mend_loss_scaling() -> None:
    """Let version 3 look for infinite gradients in fp16 and fp32, which it does by paddle.any."""
    import paddle

    if is_3():
        paddle.any = _any


def _any(x: Any) -> Any:
    attributes = {"dim": [], "keep_dim": False, "reduce_all": True}
    return _operator("reduce_any", {"X": x}, "bool", attributes)


def all_reduce() -> str:
    """The operator that sums a tensor over all processes; version 3 has another name for it."""
    return "all_reduce" if is_3() else "c_allreduce_sum"


def add_all_reduce(block: Any, source: Any, target: Any, ring: int) -> None:
    """Add to ``block`` the sum over all processes of ``source``, which becomes ``target``."""
    if is_3():
        slots, attributes = ("x", "out"), {"reduce_type": 0}  # paddle.distributed.ReduceOp.SUM
    else:
        slots, attributes = ("X", "Out"), {"use_calc_stream": True}
    block.append_op(
        type=all_reduce(),
        inputs={slots[0]: source},
        outputs={slots[1]: target},
        attrs={"ring_id": ring, **attributes},
    )


def connect_cpus(rank: int, size: int, endpoint: str) -> None:
    """Connect this process, number ``rank`` of ``size``, with the others by gloo.

    The first one serves at ``endpoint``. Version 3 still connects them in 2.6's way, but its
    operators look for the connection elsewhere.
    """
    import paddle

    if not is_3():
        paddle.distributed.gloo_init_parallel_env(rank, size, endpoint)
        return
    from paddle.base import core

    host, port = endpoint.split(":")
    store = core.TCPStore(host, int(port), rank == 0, size, _CONNECT_S)
    core.CommContextManager.create_gloo_comm_context(store, _RING_0, rank, size)


def is_3() -> bool:
    """Whether PaddlePaddle is version 3 or later."""
    import paddle

    return int(paddle.__version__.partition(".")[0]) >= 3


def _operator(
    kind: str, inputs: dict, dtype: Any, attributes: dict | None = None, called: str = ""
) -> Any:
    """The output of an operator, added to the current program; ``called`` begins its name."""
    from paddle.base.layer_helper import LayerHelper

    helper = LayerHelper(called or kind)
    result = helper.create_variable_for_type_inference(dtype)
    helper.append_op(type=kind, inputs=inputs, outputs={"Out": result}, attrs=attributes or {})
    return result
