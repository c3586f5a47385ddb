"""2:4 sparsity: which weights get it, how they are pruned, and proof that the pattern holds.

A. Mishra et al., "Accelerating Sparse Deep Neural Networks", arXiv 2104.08378: of every 4 weights
that are neighbours along the input channels, at most 2 are not zero. For a convolution weight
[out, in, kh, kw] that holds for each output channel and kernel position, for a linear weight
[in, out] for each output.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .errors import TwoFourError

GROUP, KEPT = 4, 2


def input_axis(shape: tuple[int, ...]) -> int:
    """The axis of the input channels: 1 of OIHW, 0 of [in, out]."""
    return 1 if len(shape) == 4 else 0


def eligible(shape: tuple[int, ...]) -> bool:
    """Whether 2:4 can apply: the input channels fall into whole groups of 4."""
    return shape[input_axis(shape)] % GROUP == 0


def choose(weights: dict[str, tuple[int, ...]], exclude: Iterable[str]) -> list[str]:
    """Names of the ``weights`` (name → shape) that shall be sparse, in their order."""
    excluded = set(exclude)
    return [name for name, shape in weights.items() if eligible(shape) and name not in excluded]


def groups(weight: np.ndarray) -> np.ndarray:
    """The weight as rows of neighbours along the input channels, [n, 4], padded with zeros."""
    rows = np.moveaxis(weight, input_axis(weight.shape), -1)
    missing = -rows.shape[-1] % GROUP
    if missing:
        rows = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, missing)])
    return rows.reshape(-1, GROUP)


def holds(weight: np.ndarray) -> bool:
    """Whether every group of 4 along the input channels has at most 2 non-zeros."""
    return bool((np.count_nonzero(groups(weight), axis=1) <= KEPT).all())


def require(weights: dict[str, np.ndarray], names: Iterable[str], where: str) -> None:
    """Raise TwoFourError if a weight in ``names`` is missing or breaks 2:4 (``where``: whose)."""
    for name in names:
        if name not in weights:
            raise TwoFourError(f"{where} has no weight {name}, which should be 2:4 sparse")
        if not holds(weights[name]):
            rows = groups(weights[name])
            broken = int((np.count_nonzero(rows, axis=1) > KEPT).sum())
            raise TwoFourError(
                f"{name} in {where} is not 2:4 sparse: {broken} of {len(rows)} groups of 4 along "
                "the input channels have more than 2 non-zeros"
            )


def report(
    weights: dict[str, np.ndarray],
    exclude: Iterable[str],
    before: dict[str, np.ndarray] | None = None,
) -> dict:
    """What sparsity.json holds: a row for every weight, and totals over those 2:4 applies to.

    ``density`` is the share of non-zeros. ``kept_magnitude`` is sum |w| over that of ``before``,
    the same weights before pruning; it is left out where ``before`` is not given.
    """
    chosen = choose({name: w.shape for name, w in weights.items()}, exclude)
    layers = []
    for name, weight in weights.items():
        row = {
            "name": name,
            "shape": list(weight.shape),
            "eligible": eligible(weight.shape),
            "excluded": name in set(exclude),
            "sparse": name in chosen,
            "pattern_2_4": holds(weight),
            "density": np.count_nonzero(weight) / weight.size,
        }
        if before is not None:
            row["kept_magnitude"] = _magnitude(weight) / max(_magnitude(before[name]), 1e-30)
        layers.append(row)
    total = {"layers": len(chosen), "weights": sum(weights[n].size for n in chosen)}
    total["density"] = density(weights, chosen)
    if before is not None and chosen:
        kept = sum(_magnitude(weights[n]) for n in chosen)
        total["kept_magnitude"] = kept / max(sum(_magnitude(before[n]) for n in chosen), 1e-30)
    return {"total": total, "layers": layers}


def density(weights: dict[str, np.ndarray], names: Iterable[str]) -> float | None:
    """Non-zeros over all weights of the layers ``names``; None if there are none."""
    names = list(names)
    size = sum(weights[name].size for name in names)
    return sum(int(np.count_nonzero(weights[name])) for name in names) / size if size else None


def _magnitude(weight: np.ndarray) -> float:
    return float(np.abs(weight).sum(dtype=np.float64))


# --- paddle.incubate.asp -----------------------------------------------------------------------


def register(names: Iterable[str]) -> None:
    """Make paddle.incubate.asp treat exactly the weights ``names`` as prunable.

    ASP by itself goes by PaddlePaddle's automatic names (conv2d_0.w_0) and excludes by substring.
    Ours do not look like that, so only those registered here, by their full names, are found.
    """
    from paddle.incubate import asp
    from paddle.incubate.asp import supported_layer_list

    # ASP's own type names would also match a weight of ours that is called like one.
    supported_layer_list.supported_layers_and_prune_func_map.clear()
    for name in names:
        asp.add_supported_layer(name)


def mask_name(name: str) -> str:
    """The variable in which ASP keeps the mask of the weight ``name``."""
    return f"{name}.asp_mask"


def prune(
    weights: dict[str, np.ndarray], names: list[str], algorithm: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Prune the weights ``names`` with an algorithm of paddle.incubate.asp ("mask_1d").

    Returns a copy of ``weights`` with those pruned, and their masks as bool arrays.
    """
    import paddle
    from paddle.incubate import asp

    paddle.enable_static()
    register(names)
    main, startup = paddle.static.Program(), paddle.static.Program()
    with paddle.static.scope_guard(paddle.static.Scope()):
        with paddle.static.program_guard(main, startup):
            for name in names:  # ASP works on parameters of a program; it needs no layers
                paddle.static.create_parameter(weights[name].shape, "float32", name=name)
        paddle.static.Executor(paddle.CPUPlace()).run(startup)
        scope = paddle.static.global_scope()
        for name in names:
            scope.find_var(name).get_tensor().set(weights[name], paddle.CPUPlace())
        masks = asp.prune_model(main, n=KEPT, m=GROUP, mask_algo=algorithm, with_mask=False)
    masks = {name: np.asarray(masks[name]).astype(bool) for name in names}
    pruned = {name: weights[name] * masks[name] for name in names}
    return {**weights, **pruned}, masks
