"""What differs between versions of PaddlePaddle computes the same in each."""

from twofour.system import paddle_versions

import numpy as np
import paddle
import pytest


def run(build, **given):
    """What the operators that ``build`` adds to a program make of the arrays ``given``."""
    paddle.enable_static()
    program = paddle.static.Program()
    with paddle.static.program_guard(program), paddle.utils.unique_name.guard():
        data = [paddle.static.data(n, list(a.shape), a.dtype.name) for n, a in given.items()]
        result = build(*data)
    executor = paddle.static.Executor(paddle.CPUPlace())
    (found,) = executor.run(program, feed=given, fetch_list=[result])
    return found, [op.type for op in program.global_block().ops]


def test_graphs_are_programs_of_operators():
    paddle.enable_static()
    assert isinstance(paddle.static.Program(), paddle.base.framework.Program)


def test_numbers_are_told_from_the_rest():
    given = np.array([0, np.nan, np.inf, -np.inf, 1e38], np.float32)
    found, kinds = run(paddle_versions.is_finite, x=given)
    assert found.tolist() == np.isfinite(given).tolist()
    assert kinds == ["isfinite_v2"]


def test_sums_and_products():
    x, y = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((3, 2), np.float32)
    found, kinds = run(lambda x: paddle_versions.total(x, 1), x=x)
    assert (found.tolist(), kinds) == ([3, 12], ["reduce_sum"])
    found, kinds = run(paddle_versions.product, x=x, y=y)
    assert (found.tolist(), kinds) == ((x @ y).tolist(), ["matmul_v2"])


@pytest.mark.parametrize("flags", [[False, False], [False, True]])
def test_loss_scaling_can_ask_whether_any_gradient_is_infinite(flags):
    paddle_versions.mend_loss_scaling()
    found, kinds = run(lambda x: paddle.any(x), x=np.array(flags))
    assert (bool(found), kinds) == (any(flags), ["reduce_any"])
