#!/usr/bin/env python3
"""Write an exported network with 8-bit integers as weights and activations, as a Q/DQ ONNX file."""

from __future__ import annotations

from pathlib import Path

from twofour import command
from twofour.artifacts import ONNX
from twofour.system import cli


def main(options) -> None:
    from twofour import stages
    from twofour.quantization import calibration, fold, forms, onnx_graph

    settings = stages.load(options.config, "quantize")
    model = Path(options.model)
    limits = calibration.read(model).limits
    graph = fold.fold(onnx_graph.load(model / ONNX))
    forms.for_tensorrt(graph, limits, settings.quantization.exclude)
    out = Path(options.out)
    onnx_graph.write(out, graph)
    cli.log.info(
        "quantised %d layers: %.2f MB instead of %.2f",
        len(forms.quantised_layers(graph)),
        out.stat().st_size / 1e6,
        (model / ONNX).stat().st_size / 1e6,
    )


def arguments(parser) -> None:
    parser.add_argument("--model", required=True, metavar="DIR", help="the exported model")
    parser.add_argument("--out", required=True, metavar="FILE", help="ONNX file to write")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
