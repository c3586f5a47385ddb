"""Fake quantisation in PaddlePaddle's static graph: rounding in float, straight-through gradients.

Y. Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", arXiv 1308.3432.

Weights are rounded per output channel by their largest magnitude of the moment, activations by a
range each, where :mod:`.placement` puts the Q/DQ pairs of the exported file. Ranges are called by
the layer that reads the activation ("layer1.0.conv1.input"), or by the shortcut that makes it
("layer1.0.shortcut.conv.output").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..network.architecture import CLASSIFIER, Architecture, input_of, output_of
from ..system.errors import TwoFourError
from ..system.files import PathLike, read_json, write_json

RANGE = ".range"  # what follows a range's name in a program
_STATE, _SUM = ".state", ".sum"  # of the moving average, behind that
BITS = 8


def ranges(network: Architecture) -> list[str]:
    """Names of all ranges of a network, in the order in which it computes."""
    names = [input_of(network.stem.name)]
    for block in network.blocks:
        names += [input_of(conv.name) for conv in block.convs]
        if block.shortcut:
            names.append(output_of(block.shortcut.name))
    return [*names, input_of(CLASSIFIER.removesuffix(".weight"))]


def variables(names: list[str], average: bool) -> list[str]:
    """The variables of a program that hold these ranges, and their moving averages if there are."""
    ends = (RANGE, RANGE + _STATE, RANGE + _SUM) if average else (RANGE,)
    return [name + end for name in names for end in ends]


def first_values(limits: Mapping[str, float], average: bool) -> dict[str, float]:
    """{variable: its value at the start}, from the calibration's ``limits``."""
    values = {}
    for name, limit in limits.items():
        values[name + RANGE] = limit
        if average:  # as if it had been so for many steps
            weight = 1 / (1 - Rounding.rate)
            values.update({name + RANGE + _STATE: weight, name + RANGE + _SUM: weight * limit})
    return values


def write(path: PathLike, state: Mapping[str, Any]) -> None:
    """Write the ranges in ``state`` {variable: [1]} as JSON, {range: its value}."""
    found = {n.removesuffix(RANGE): float(v[0]) for n, v in state.items() if n.endswith(RANGE)}
    write_json(path, found)


def read(path: PathLike) -> dict[str, float]:
    """Read what :func:`write` wrote."""
    try:
        return {str(name): float(value) for name, value in read_json(path).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise TwoFourError(f"{path} holds no ranges: {error}") from error


@dataclass(frozen=True)
class Rounding:
    """What a program rounds to: ``bits``, and whether ranges follow an ``average`` of maxima.

    ``rate`` is what a step keeps of that average. Implements :class:`..network.graph.Rounding`.
    """

    average: bool = False
    training: bool = True
    bits: int = BITS
    rate: float = 0.99

    def weight(self, variable: Any, axis: int) -> Any:
        """``variable``, a parameter, rounded for each channel along ``axis``."""
        from paddle.base.layer_helper import LayerHelper

        helper = LayerHelper("rounded_weight")
        result = helper.create_variable_for_type_inference("float32")
        step = helper.create_variable_for_type_inference("float32", stop_gradient=True)
        helper.append_op(
            type="fake_channel_wise_quantize_dequantize_abs_max",
            inputs={"X": variable},
            outputs={"Out": result, "OutScale": step},
            attrs={"bit_length": self.bits, "quant_axis": axis, "round_type": 0},
        )
        result.desc.set_shape(variable.shape)
        return result

    def activation(self, variable: Any, name: str) -> Any:
        """``variable``, rounded by the range ``name``; clipped values have no gradient."""
        from paddle.base.layer_helper import LayerHelper

        helper = LayerHelper("rounded_activation")
        result = helper.create_variable_for_type_inference("float32")
        range_ = _persistable(name + RANGE)
        inputs, outputs = {"X": variable, "InScale": range_}, {"Out": result, "OutScale": range_}
        learns = self.average and self.training
        if learns:
            for slot, end in (("State", _STATE), ("Accum", _SUM)):
                inputs[f"In{slot}"] = outputs[f"Out{slot}"] = _persistable(name + RANGE + end)
        helper.append_op(
            type="fake_quantize_dequantize_moving_average_abs_max",
            inputs=inputs,
            outputs=outputs,
            attrs={
                "bit_length": self.bits,
                "moving_rate": self.rate,
                "is_test": not learns,
                "round_type": 0,
            },
        )
        result.desc.set_shape(variable.shape)
        return result


def _persistable(name: str) -> Any:
    """A variable of the program that stays from step to step; its value is written later."""
    import paddle

    block = paddle.static.default_main_program().global_block()
    if block.has_var(name):
        return block.var(name)
    return paddle.static.create_global_var([1], 1.0, "float32", True, name=name)
