"""ResNet50's predictions on a constant batch: predict.py WHO MODEL BATCH."""

import sys
from pathlib import Path

import networks
import numpy as np
import turns

SECONDS = 3  # per turn, roughly


def ours(backend, precision="fp32"):
    def load(folder, batch):
        from twofour.deploy import backends
        from twofour.system import libraries
        from twofour.system.settings import Hardware

        target = backends.target(backend, Hardware(device="cpu"))
        libraries.prepare(Hardware(device="cpu"))
        out = folder / backend
        out.mkdir(exist_ok=True)
        backends.module(backend).require(precision)
        return backends.module(backend).load(folder, out, precision, target)

    return load


def plain_onnxruntime(folder, batch):
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def plain_openvino(**options):
    def load(folder, batch):
        import openvino

        compiled = openvino.Core().compile_model(str(folder / "model.onnx"), "CPU", options)
        return lambda images: compiled(images)[0]

    return load


def torch_compiled(folder, batch):
    import torch
    from torch_nets import Net

    network = networks.case("ResNet50 224 px")[1]
    state = dict(np.load(folder / "state.npz"))
    net = Net(network, state).eval().to(memory_format=torch.channels_last)
    fast = torch.compile(lambda x: torch.softmax(net(x), 1))

    def predict(images):
        with torch.inference_mode():
            x = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
            return fast(x).numpy()

    return predict


WHO = {
    **{backend: ours(backend) for backend in ("onnxruntime", "openvino", "paddle")},
    "openvino_bf16": ours("openvino", "bf16"),
    "plain_onnxruntime": plain_onnxruntime,
    "plain_openvino": plain_openvino(),
    "plain_openvino_fp32": plain_openvino(INFERENCE_PRECISION_HINT="f32"),
    "torch_compiled": torch_compiled,
}


def main() -> None:
    who, folder, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    predict = WHO[who](folder, batch)
    images = np.random.default_rng(0).standard_normal((batch, 3, 224, 224)).astype(np.float32)
    expected = folder / f"expected{batch}.npy"
    found = predict(images)
    if not expected.exists():
        np.save(expected, found)
    difference = float(np.abs(found - np.load(expected)).max())
    if difference > 1e-4:
        sys.exit(f"{who} predicts something else, by {difference:g}")
    turns.serve(turns.timed(lambda: predict(images), batch, SECONDS))


if __name__ == "__main__":
    main()
