"""The training step as a PaddlePaddle graph: forward, loss, gradients, update, masks.

Loss: cross-entropy against smoothed labels (C. Szegedy et al., CVPR 2016, section 7).
Distillation: G. Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv 1503.02531,
section 2. Optimiser: SGD with momentum; the weight decay is added to the gradient, none on batch
norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import paddle
from paddle.nn import functional

from ..network import graph
from ..network.architecture import CLASSIFIER, CLASSIFIER_BIAS, IMAGES, NORM_PARTS, Architecture
from ..quantization import fake
from ..sparse import asp
from ..system import libraries, paddle_versions
from . import amp, mixing, parallel, precision
from .parallel import Group
from .plan import Plan

LABELS = "labels"
LOSS_SUM = "train.loss_sum"  # of the epoch, summed in the graph so that no step has to wait for it
FINITE_STEPS = "train.finite_steps"  # of the epoch, before the first loss that is NaN or infinite
EMA_DECAY = "train.ema_decay"  # of this update
MIX = "train.mix"  # share of its own pixels that each image of a batch keeps (.mixing)
TEACHER = "teacher."  # how names of the weights of a distillation's dense network begin

_EMA, _SUM = ".ema", ".gradient_sum"  # what follows a weight's name


@dataclass
class TrainingGraph:
    """The training step of one process.

    ``main`` takes a batch and updates the weights; with gradient accumulation the batches before
    the last of a step go through ``partial``. ``loss`` is the fetchable mean loss of a batch.
    ``state`` names what a checkpoint keeps, of which ``local`` differs between the processes.
    ``master`` and ``averages`` map weights to their fp32 copies and moving averages, where there
    are any. ``loss_scale`` names the scale of mixed precision, if it has one.
    """

    main: paddle.static.Program
    partial: paddle.static.Program | None
    startup: paddle.static.Program
    loss: paddle.static.Variable
    scheduler: paddle.optimizer.lr.LRScheduler
    state: list[str]
    local: list[str]
    precision: str
    master: dict[str, str] = field(default_factory=dict)
    averages: dict[str, str] = field(default_factory=dict)
    loss_scale: str | None = None
    halve: Callable[[object], None] | None = None  # casts the weights after the start, for O2

    def learning_rate(self) -> float:
        """The learning rate that the last step really used, read from the scope."""
        name = self.scheduler._var_name
        variable = paddle.static.global_scope().find_var(name)
        return float(np.ravel(np.array(variable.get_tensor()))[0])

    def start(self, executor, place) -> None:
        """Give all variables their first values."""
        executor.run(self.startup)
        if self.halve:
            self.halve(place)


def build(
    plan: Plan,
    learning_rate: Callable[[int], float],
    masked: Iterable[str] = (),
    taught: bool = False,
) -> TrainingGraph:
    """The graph of one training step of one process.

    ``learning_rate`` maps the number of an update to its rate. The weights named in ``masked`` get
    a mask each, multiplied onto them after every update; the masks start as ones. Each update takes
    the mean gradient of ``train.accumulation`` batches in each process of the group. A network that
    is ``taught`` has a teacher, a second one whose weights have names with TEACHER before them.
    """
    paddle.enable_static()
    masked = [name for name in masked if name not in frozen(plan)]  # those stay sparse anyway
    on_cpu = plan.machine.device == "cpu"
    main, startup = paddle.static.Program(), paddle.static.Program()
    main.random_seed = startup.random_seed = plan.seed
    paddle.seed(plan.seed)
    with paddle.static.program_guard(main, startup), paddle.utils.unique_name.guard():
        logits, loss = _forward(plan, taught)
        _set_rates(main.global_block(), plan)
        scheduler = paddle.optimizer.lr.LambdaDecay(1.0, learning_rate)
        momentum = _momentum(plan, scheduler)
        mixed = None
        if precision.is_half(plan.precision):
            mixed = amp.decorate(momentum, plan.precision, plan.train)
        # Mixed precision would change the types of what _watch adds, so that comes afterwards.
        mean = _MeanGradients(
            mixed or momentum,
            plan.group,
            plan.train.accumulation,
            lambda: _watch(plan.network, logits, loss),
            _oihw if on_cpu and plan.layout == "NHWC" else lambda pairs: pairs,
        )
        (asp.decorate(mean, masked) if masked else mean).minimize(loss, startup)
        block = main.global_block()
        master = {name: copy.name for name, copy in momentum._master_weights.items()}
        _mask_master_weights(block, masked, master)
        averages = _average_weights(plan.network, block, master) if plan.train.ema else {}
    if on_cpu:
        graph.use_onednn(main)
    partial = _without_update(main, mean.update_begins) if plan.train.accumulation > 1 else None
    tf32 = plan.machine.device == "gpu" and libraries.tf32_allowed()
    scale = mixed.get_loss_scaling().name if mixed and plan.precision != "amp_bf16" else None
    statistics = plan.network.statistics
    averaged = plan.rounding is not None and plan.rounding.average
    ranges = fake.variables(fake.ranges(plan.network), True) if averaged else []
    return TrainingGraph(
        main,
        partial,
        startup,
        loss,
        scheduler,
        _state(main),
        [
            *(*statistics, *ranges, LOSS_SUM, FINITE_STEPS),
            *(averages[n] for n in statistics if n in averages),
        ],
        amp.precision(main, [conv.weight for conv in plan.network.convs], tf32),
        master,
        averages,
        scale,
        mixed.amp_init if mixed and plan.precision == "pure_fp16" else None,
    )


def _forward(plan: Plan, taught: bool):
    """Logits [N, classes] and mean loss [1] of a batch."""
    size = plan.data.image_size if plan.data.train_size is None else None
    kind = "float16" if plan.precision == "pure_fp16" else "float32"
    shape = graph.input_shape(plan.network, size, plan.layout)
    images = paddle.static.data(IMAGES, shape, kind)
    labels = paddle.static.data(LABELS, [None], "int64")
    share = None
    if mixing.mixes(plan.train):
        images, share = _mixed(images, plan.layout)
    with amp.guard():
        logits = graph.forward(
            plan.network,
            images,
            True,
            plan.layout,
            frozen_stem=plan.train.freeze_stem,
            rounding=plan.rounding,
        )
        teacher = (
            graph.forward(plan.network, images, False, plan.layout, prefix=TEACHER)
            if taught
            else None
        )
    logits = paddle.cast(logits, "float32")
    smoothing = plan.train.label_smoothing
    factors = plan.class_factors
    if share is None and factors is None:
        loss = smoothed_cross_entropy(logits, labels, plan.network.classes, smoothing)
    else:
        loss = _weighted_cross_entropy(logits, labels, plan, share)
    if teacher is not None:
        teacher = paddle.cast(teacher, "float32")
        teacher.stop_gradient = True
        distance = distillation_loss(logits, teacher, plan.train.distill_temperature)
        loss = loss * (1 - plan.train.distill) + distance * plan.train.distill
    return logits, loss


def _mixed(images, layout: str):
    """Each image mixed with the one at its place from the batch's end, and the share [1] it keeps.

    The share of each pixel is fed as MIX [H, W].
    """
    mask = paddle.static.data(MIX, [None, None], "float32")
    size = paddle.shape(mask)
    shape = [1, size[0], size[1], 1] if layout == "NHWC" else [1, 1, size[0], size[1]]
    mask = paddle.cast(mask, images.dtype)
    kept = paddle.reshape(mask, shape)
    mixed = images * kept + paddle.flip(images, [0]) * (1 - kept)
    return mixed, paddle.cast(paddle.mean(mask), "float32")


def _weighted_cross_entropy(logits, labels, plan: Plan, share):
    """The mean loss [1] with factors on classes, against labels mixed as the images are."""
    classes = plan.network.classes
    targets = functional.one_hot(labels, classes)
    if plan.train.label_smoothing:
        targets = functional.label_smooth(targets, epsilon=plan.train.label_smoothing)
    if plan.class_factors is not None:
        factors = paddle.assign(np.asarray(plan.class_factors, np.float32).reshape(-1, 1))
        targets = targets * paddle_versions.product(functional.one_hot(labels, classes), factors)
    if share is not None:
        targets = targets * share + paddle.flip(targets, [0]) * (1 - share)
    # Paddle's cross-entropy takes targets whose sum is not 1, but has a wrong gradient for them.
    losses = paddle_versions.total(-targets * functional.log_softmax(logits, axis=1), axis=1)
    return paddle.reshape(paddle.mean(losses), [1])


def distillation_loss(logits, teacher, temperature: float):
    """Mean Kullback-Leibler divergence [1] of softened probabilities from the teacher's, times T².

    Both are logits [N, classes]; T², so that the gradient's size does not depend on it.
    """
    wanted = functional.softmax(teacher / temperature)
    differences = functional.log_softmax(teacher / temperature) - functional.log_softmax(
        logits / temperature
    )
    distance = paddle.mean(paddle_versions.total(wanted * differences, axis=1)) * temperature**2
    return paddle.reshape(distance, [1])


def _set_rates(block, plan: Plan) -> None:
    """Factors on the learning rate of single weights, and none at all for those that are frozen."""
    if plan.train.head_factor != 1:
        for name in (CLASSIFIER, CLASSIFIER_BIAS):
            block.var(name).optimize_attr["learning_rate"] = float(plan.train.head_factor)
    for name in frozen(plan):
        block.var(name).stop_gradient = True
        block.var(name).trainable = False


def frozen(plan: Plan) -> list[str]:
    """Names of the weights that stay as they are."""
    stem = plan.network.stem
    every = [stem.weight, *(f"{stem.norm}.{part}" for part in NORM_PARTS[:2])]
    return every if plan.train.freeze_stem else []


def _momentum(plan: Plan, scheduler):
    return paddle.optimizer.Momentum(
        scheduler,
        momentum=plan.train.momentum,
        weight_decay=plan.train.weight_decay,
        multi_precision=plan.precision == "pure_fp16",
    )


def _mask_master_weights(block, masked: list[str], master: dict[str, str]) -> None:
    """Mask the fp32 copies of fp16 weights, too, which paddle.incubate.asp leaves out."""
    for name in masked:
        if name in master:
            weight, mask = block.var(master[name]), block.var(asp.mask_name(name))
            paddle.assign(weight * paddle.cast(mask, "float32"), output=weight)


def _state(main: paddle.static.Program) -> list[str]:
    """Names of what a checkpoint keeps: everything that persists from step to step."""
    names = {v.name for v in main.list_vars() if v.persistable} - _PLUMBING
    kept = (name for name in names if not name.endswith(_SUM))  # zero between updates
    return sorted(name for name in kept if not name.startswith(TEACHER))


def runnable(program: paddle.static.Program, device: str):
    """``program`` as the executor runs it fastest.

    PaddlePaddle makes operators work in place where it can. On CPUs that copies more than it saves:
    ReLU takes five times as long (benchmarks/README.md), and the same numbers come out.
    """
    if device != "cpu":
        return program
    strategy = paddle.static.BuildStrategy()
    strategy.enable_inplace = False
    return paddle.static.CompiledProgram(program, build_strategy=strategy)


def tensor_bytes(program: paddle.static.Program, batch_size: int) -> float:
    """Memory of all variables of ``program``, as if nothing were freed in the middle of a step.

    Infinite if a size other than the batch's is unknown.
    """
    total = 0
    for variable in program.list_vars():
        if variable.name in _PLUMBING or 0 in variable.shape:  # a stored shape, not a tensor
            continue
        sizes = [batch_size if i == 0 and s < 0 else s for i, s in enumerate(variable.shape)]
        if any(size < 0 for size in sizes):
            return float("inf")
        total += 4 * int(np.prod(sizes))
    return total


def _watch(network: Architecture, logits, loss) -> None:
    """Sum up the losses of an epoch, and count them up to the first that is NaN or infinite.

    NaN does not always reach the loss: PaddlePaddle's ReLU turns it into 0, and its cross-entropy
    into 32. It stays in the running means of the layer where it arose, and 0 · NaN is NaN.
    """
    block = logits.block
    means = paddle.concat([block.var(f"{conv.norm}.mean") for conv in network.convs])
    shown = loss + 0.0 * (paddle.mean(means) + paddle.mean(logits))
    total = paddle.static.create_global_var([1], 0.0, "float64", True, name=LOSS_SUM)
    paddle.assign(total + paddle.cast(shown, "float64"), output=total)
    finite = paddle.static.create_global_var([1], 0.0, "float64", True, name=FINITE_STEPS)
    paddle.assign(finite + paddle.cast(paddle_versions.is_finite(total), "float64"), output=finite)


class _MeanGradients:
    """An optimiser whose update takes the mean gradient of several batches and processes.

    ``update_begins`` is the index of the first operator that runs once for several batches;
    ``watch`` adds operators that run with each batch after its gradients are known, and ``mend``
    corrects the pairs of weights and gradients.
    """

    def __init__(
        self,
        optimizer,
        group: Group,
        accumulation: int,
        watch: Callable[[], None],
        mend: Callable[[list], list],
    ) -> None:
        self._optimizer, self._group, self._accumulation = optimizer, group, accumulation
        self._watch, self._mend = watch, mend
        self.update_begins = 0

    def minimize(self, loss, startup_program=None, parameter_list=None, no_grad_set=None):
        pairs = self._optimizer.backward(loss, startup_program, parameter_list, no_grad_set)
        pairs = self._mend(pairs)
        self._watch()
        if self._accumulation > 1:
            sums = [_running_sum(gradient, weight) for weight, gradient in pairs]
            self.update_begins = len(loss.block.ops)
            averages = [total / self._accumulation for total in sums]
            pairs = [
                (weight, average if g.dtype == average.dtype else paddle.cast(average, g.dtype))
                for average, (weight, g) in zip(averages, pairs)
            ]
            for total in sums:
                paddle.assign(paddle.zeros_like(total), output=total)
        pairs = parallel.average_gradients(pairs, self._group)
        updates = self._optimizer.apply_gradients(pairs)
        return updates, pairs


def _oihw(pairs: list) -> list:
    """The gradients of convolutions as [out, in, kh, kw].

    With the layout NHWC, PaddlePaddle 2.6 mistakes what oneDNN computes for an image, and
    transposes it to [out, kh, kw, in].
    """
    return [
        (weight, _from_ohwi(gradient, weight.shape) if len(weight.shape) == 4 else gradient)
        for weight, gradient in pairs
    ]


def _from_ohwi(gradient, shape: tuple[int, ...]):
    outputs, inputs, high, wide = shape
    if high * wide == 1:
        return paddle.reshape(gradient, shape)
    stored = paddle.reshape(gradient, [outputs, high, wide, inputs])
    return paddle.transpose(stored, [0, 3, 1, 2])


def _running_sum(gradient, weight):
    total = paddle.static.create_global_var(
        list(weight.shape), 0.0, "float32", True, name=weight.name + _SUM
    )
    paddle.assign(total + paddle.cast(gradient, "float32"), output=total)
    return total


def _average_weights(network: Architecture, block, master: dict[str, str]) -> dict[str, str]:
    """Add an exponential moving average of each weight and running statistic.

    B. Polyak, A. Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992, with
    exponential weights as in C. Szegedy et al., CVPR 2016, section 8. Returns their names.
    """
    decay = paddle.static.data(EMA_DECAY, [1], "float32")
    names = {}
    for name in network.state:
        value = block.var(master.get(name, name))
        average = paddle.static.create_global_var(
            list(value.shape), 0.0, "float32", True, name=name + _EMA
        )
        paddle.assign(average * decay + value * (1 - decay), output=average)
        names[name] = average.name
    return names


def _without_update(main: paddle.static.Program, begins: int) -> paddle.static.Program:
    """``main`` up to, but without, the operator with the index ``begins``."""
    partial = main.clone()
    block = partial.global_block()
    for index in reversed(range(begins, len(block.ops))):
        block._remove_op(index, sync=False)
    partial._sync_with_cpp()
    return partial


def smoothed_cross_entropy(logits, labels, classes: int, smoothing: float):
    """Mean cross-entropy [1] of ``logits`` [N, classes] against smoothed ``labels`` [N].

    The true class has the target 1 - smoothing + smoothing / classes, the others
    smoothing / classes.
    """
    targets = functional.one_hot(labels, classes)
    if smoothing:
        targets = functional.label_smooth(targets, epsilon=smoothing)
    loss = functional.cross_entropy(logits, targets, soft_label=True, reduction="mean")
    return paddle.reshape(loss, [1])


_PLUMBING = {"feed", "fetch"}
