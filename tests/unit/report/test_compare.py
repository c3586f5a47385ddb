"""The text below the table follows from the table."""

from twofour import models
from twofour.report import compare

import numpy as np
import pandas as pd


def row(model, backend="tensorrt_sparse", batch=8, top1=90.0, speed=1.0, spread=0.01, **more):
    cells = dict.fromkeys(compare.COLUMNS, np.nan)
    cells.update(model=model, backend=backend, precision="fp16", device="GPU", batch_size=batch)
    cells.update(top1=top1, top5=99.0, top1_drop=90.0 - top1, images=1000)
    cells.update(throughput_img_s=100 * speed, speedup=speed, density=0.5, size_mb=1.0)
    cells.update(speedup_low=speed - spread, speedup_high=speed + spread)
    cells.update(sparse_kernels=backend == "tensorrt_sparse", **more)
    return cells


def words(*rows):
    return compare.words(table(*rows))


def table(*rows):
    names = [r["model"].partition("/")[2] or "mask_1d" for r in rows if r["model"] != "dense"]
    frame = pd.DataFrame(rows)[compare.COLUMNS]
    return compare.Table(frame, models.table(list(dict.fromkeys(names))))


def test_gain_is_told_with_its_place_and_without_copies():
    text = words(
        row("dense"),
        row("pruned", top1=20),
        row("sparse", top1=89.5, speed=1.2, device_speedup=1.4),
    )
    assert "from 90.00 % to 20.00 %" in text
    assert "0.50 points below the dense model (5 of 1000 images)" in text
    assert (
        "The sparse model was faster than the dense one in tensorrt_sparse fp16 at batch 8 "
        "(1.20 ×; 1.40 × without the copies to and from the GPU)." in text
    )
    assert "No gain was to be expected" not in text


def test_difference_within_the_noise_is_no_gain():
    text = words(row("dense"), row("pruned"), row("sparse", speed=1.2, spread=0.3))
    assert "No speed was gained or lost" in text and "(1.20 ×)" in text
    assert "faster" not in text
    assert "exactly the dense model's" in text


def test_loss_is_told_too():
    text = words(row("dense"), row("pruned"), row("sparse", speed=0.8))
    assert "The sparse model was slower than the dense one in tensorrt_sparse fp16" in text


def test_each_algorithm_has_its_sentence_and_equal_backends_share_one():
    rows = []
    for backend in ("paddle", "onnxruntime"):
        rows += [row("dense", backend)]
        for branch, top1 in (("", 89.9), ("/mask_2d_best", 89.0)):
            rows += [row(f"pruned{branch}", backend), row(f"sparse{branch}", backend, top1=top1)]
    text = words(*rows)
    assert "In paddle fp16 and onnxruntime fp16, pruning alone by mask_1d" in text
    assert text.count("pruning alone by") == 2
    assert "from paddle and onnxruntime, which run dense kernels" in text


def test_fastest_backend_is_named_for_each_batch_size():
    def fast(model, backend, batch_size, rate):
        return {**row(model, backend), "batch_size": batch_size, "throughput_img_s": rate}

    rows = [
        fast(model, backend, batch_size, rate)
        for model in ("dense", "pruned", "sparse")
        for backend, rates in {"openvino": (90, 70), "onnxruntime": (80, 75)}.items()
        for batch_size, rate in zip((1, 8), rates)
    ]
    text = words(*rows)
    assert "openvino fp16 at batch 1 (90 img/s); onnxruntime fp16 at batch 8 (75 img/s)." in text
    assert "Fastest" not in words(row("dense"), row("pruned"), row("sparse"))


def test_columns_that_nothing_was_measured_of_are_not_shown():
    without = table(row("dense"))
    assert "GPU alone" not in compare.headings(without)
    with_gpu = table(row("dense", device_speedup=1.0))
    assert "GPU alone" in compare.headings(with_gpu)
    assert "GPU alone" in compare.markdown(with_gpu, "")


def test_notes_of_equal_backends_are_joined():
    rows = [row("dense", b, note="dense kernels") for b in ("paddle", "onnxruntime")]
    notes = compare.notes(table(*rows))
    assert notes[0] == "paddle and onnxruntime: dense kernels."
