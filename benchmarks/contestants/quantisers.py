"""Others' quantisers: quantisers.py WHO FOLDER, with model.onnx and calibration.npy in it."""

import sys
from pathlib import Path

import numpy as np


def nncf(folder: Path) -> None:
    import nncf as library
    import onnx

    sample = np.load(folder / "calibration.npy")
    images = [{"images": sample[i : i + 1]} for i in range(len(sample))]
    model = onnx.load(str(folder / "model.onnx"))
    data = library.Dataset(images, lambda item: item)
    quantised = library.quantize(model, data, subset_size=len(images))
    onnx.save(quantised, str(folder / "nncf.onnx"))


def onnxruntime_quantiser(folder: Path) -> None:
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            sample = np.load(folder / "calibration.npy")
            self._images = iter({"images": sample[i : i + 8]} for i in range(0, len(sample), 8))

        def get_next(self):
            return next(self._images, None)

    prepared = folder / "prepared.onnx"
    quantization.shape_inference.quant_pre_process(
        str(folder / "model.onnx"), str(prepared), skip_symbolic_shape=True
    )
    quantization.quantize_static(
        str(prepared),
        str(folder / "onnxruntime_quantiser.onnx"),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


if __name__ == "__main__":
    {"nncf": nncf, "onnxruntime_quantiser": onnxruntime_quantiser}[sys.argv[1]](Path(sys.argv[2]))
