"""Data parallel training: several processes, each with its part of every batch.

On GPUs they communicate by NCCL, on CPUs by gloo; the program has the same operators for both, as
PaddlePaddle's fleet, which would insert them, works on GPUs only. One process has a group of one.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..system import paddle_versions
from ..system.errors import TwoFourError, telling

RING = 0  # PaddlePaddle's number of the communicator of all processes
RANK, SIZE = "PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM"  # set by paddle.distributed.launch


class Group:
    """The processes of a job, of which this one is number ``rank`` of ``size``.

    ``place`` is PaddlePaddle's name of this process's device.
    """

    def __init__(self, rank: int = 0, size: int = 1, place=None) -> None:
        self.rank, self.size, self.place = rank, size, place
        self._programs: dict[tuple, tuple] = {}

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The sum over all processes of ``values`` (int64, float32 or float64), in each of them."""
        if self.size == 1:
            return values
        import paddle

        key = (values.shape, values.dtype.str)
        if key not in self._programs:
            program = paddle.static.Program()
            with paddle.static.program_guard(program), paddle.utils.unique_name.guard():
                data = paddle.static.data("values", list(values.shape), values.dtype.name)
                total = program.global_block().create_var(
                    name="total", shape=data.shape, dtype=data.dtype
                )
                paddle_versions.add_all_reduce(program.global_block(), data, total, RING)
            self._programs[key] = (program, total, paddle.static.Executor(self.place))
        program, total, executor = self._programs[key]
        with self.watched():
            (result,) = executor.run(program, feed={"values": values}, fetch_list=[total])
        return result

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Turns a failed exchange into TwoFourError: the cause is usually in another process."""
        try:
            yield
        except Exception as error:
            words = str(error).lower()
            if self.size > 1 and any(sign in words for sign in _LOST_SIGNS):
                raise TwoFourError(f"{PEER_LOST} ({telling(error)})") from error
            raise

    def any(self, *flags: bool) -> list[bool]:
        """For each flag whether it is set in any process."""
        return (self.sum(np.asarray(flags, dtype=np.int64)) > 0).tolist()

    def gather(self, values: np.ndarray) -> list[np.ndarray]:
        """The ``values`` of each process, of one shape and type, in each of them."""
        if self.size == 1:
            return [values]
        table = np.zeros((self.size, *values.shape), dtype=values.dtype)
        table[self.rank] = values
        return list(self.sum(table))

    def gather_bytes(self, texts: Sequence[bytes]) -> list[list[bytes]]:
        """The list of ``texts`` of each process, all lists being equally long."""
        if self.size == 1:
            return [list(texts)]
        lengths = self.gather(np.asarray([len(text) for text in texts], dtype=np.int64))
        longest = int(np.max(lengths))
        padded = np.zeros((len(texts), longest), dtype=np.int64)
        for row, text in zip(padded, texts):
            row[: len(text)] = np.frombuffer(text, dtype=np.uint8)
        tables = self.gather(padded)
        return [
            [row[:n].astype(np.uint8).tobytes() for row, n in zip(table, sizes)]
            for table, sizes in zip(tables, lengths)
        ]


PEER_LOST = "another process of this training has ended, or cannot be reached"
_LOST_SIGNS = ("gloo", "connection", "nccl", "std::exception")  # the last is gloo's, too


def connect(place) -> Group:
    """The group of this process, as paddle.distributed.launch describes it; else of one."""
    rank, size = int(os.environ.get(RANK, 0)), int(os.environ.get(SIZE, 1))
    if size == 1:
        return Group(place=place)
    import paddle

    endpoints = os.environ["PADDLE_TRAINER_ENDPOINTS"].split(",")
    if isinstance(place, paddle.CUDAPlace):
        _connect_nccl(place)
    else:
        _import_without_log()
        # The first port, which NCCL would use, is free on CPUs.
        paddle_versions.connect_cpus(rank, size, endpoints[0])
    return Group(rank, size, place)


def _import_without_log() -> None:
    """Load the server by which gloo's processes connect: it opens a log in the current folder."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as elsewhere:
        os.chdir(elsewhere)
        try:
            importlib.import_module("paddle.distributed.fleet.utils.http_server")
        finally:
            os.chdir(here)


def _connect_nccl(place) -> None:
    import paddle
    from paddle.distributed import fleet
    from paddle.distributed.fleet.meta_optimizers.common import CollectiveHelper

    paddle.enable_static()
    roles = fleet.base.role_maker.PaddleCloudRoleMaker(is_collective=True)
    startup = nccl_startup(CollectiveHelper(roles, wait_port=False), roles)
    paddle.static.Executor(place).run(startup)


def nccl_startup(helper, roles):
    """The program by which all processes join one NCCL communicator."""
    import paddle

    startup = paddle.static.Program()
    endpoints, rank = roles._get_trainer_endpoints(), roles._worker_index()
    helper._init_communicator(startup, endpoints[rank], endpoints, rank, RING, True, RING, True)
    return startup


def average_gradients(pairs: list[tuple], group: Group) -> list[tuple]:
    """Add to the current program the mean over all processes of each gradient in ``pairs``.

    ``pairs`` are (parameter, gradient), and so is what is returned. Gradients of one type are
    sent together, since an exchange of a few bytes takes as long as one of many. (PaddlePaddle's
    coalesce_tensor would save copies, but mixes gradients up from the second step on.)
    """
    if group.size == 1:
        return pairs
    import paddle

    by_type: dict = {}
    for weight, gradient in pairs:
        by_type.setdefault(gradient.dtype, []).append((weight, gradient))
    result = {}
    for members in by_type.values():
        together = paddle.concat([paddle.reshape(gradient, [-1]) for _, gradient in members])
        paddle_versions.add_all_reduce(together.block, together, together, RING)
        sizes = [int(np.prod(weight.shape)) for weight, _ in members]
        parts = paddle.split(together / group.size, sizes)
        for (weight, _), part in zip(members, parts):
            result[weight.name] = paddle.reshape(part, weight.shape)
    return [(weight, result[weight.name]) for weight, _ in pairs]


def mean(values: dict[str, np.ndarray], group: Group) -> dict[str, np.ndarray]:
    """The mean over all processes of each of the float arrays ``values``."""
    if group.size == 1:
        return values
    flat = group.sum(np.concatenate([v.ravel().astype(np.float64) for v in values.values()]))
    return unflatten(flat / group.size, values)


def unflatten(flat: np.ndarray, like: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of which ``flat`` is made, with the names, shapes and types of ``like``."""
    result, start = {}, 0
    for name, array in like.items():
        part = flat[start : start + array.size]
        result[name] = part.reshape(array.shape).astype(array.dtype)
        start += array.size
    return result
