"""What a preview says, for every kind of outcome."""

from pathlib import Path

from twofour import models
from twofour.report import compare, display, outcome, preview

import numpy as np
import pandas as pd
import pytest

COST = {
    "device_name": "some processor",
    "precision": "fp32",
    "images": 1437,
    "epochs": 12,
    "img_s": 301.0,
    "seconds": 62.0,
    "memory_gb": 0.6,
    "rivals": {"rival/width0.75": 0.6},
}


def found(ratio=1.0, p=1.0, kernels=True, int8=None, rivals=(), qat=False):
    """A preview of one case, fp16, and int8 where its ratio to fp32 is given."""
    known = models.table("mask_1d", control=True, rivals=rivals, qat=qat)
    shown, rows = models.previewed(known), []
    backend = "tensorrt_sparse" if kernels else "onnxruntime"
    for precision in ("fp16", *(("int8",) if int8 else ())):
        for model in shown:
            faster = {"pruned": ratio, "dense": 1.0}.get(model.name, 1.7)
            cells = dict.fromkeys(compare.COLUMNS, np.nan)
            cells |= {"model": model.name, "backend": backend, "precision": precision}
            cells |= {"device": "some GPU", "batch_size": 8, "size_mb": 1.0}
            cells |= {"throughput_img_s": 100 * faster, "speedup": faster}
            cells |= {"speedup_low": faster - 0.01, "speedup_high": faster + 0.01}
            cells |= {"noise_low": 0.99, "noise_high": 1.01, "speedup_p_holm": p}
            cells |= {"latency_p50_ms": 1.0, "latency_p99_ms": 1.5, "sparse_kernels": kernels}
            if precision == "int8" and model.name == "dense":
                cells |= {"fp32_speedup": int8, "fp32_speedup_p_holm": 0.001}
            rows.append(cells)
    table = compare.Table(pd.DataFrame(rows)[compare.COLUMNS], shown)
    layer = preview.Layer("layer1.0.conv1", True, "2:4 along its 64 input channels", ["a"], ["a"])
    return preview.Preview(
        table,
        outcome.speeds_of(table, shown[-1]),
        [s for m in shown if m.kind == models.RIVAL for s in outcome.speeds_of(table, m)],
        outcome.int8_ratios(table, shown[0]),
        outcome.busy_signs(table),
        [layer],
        COST,
        [model for model in known if model.made == models.TRAINING],
    )


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ({"kernels": False, "ratio": 1.4, "p": 0.0}, "2:4 sparsity will gain no speed here: onnx"),
        ({"ratio": 1.01}, "2:4 sparsity will gain no speed here: with kernels that skip zeros"),
        ({"ratio": 1.2, "p": 0.5}, "2:4 sparsity will gain no speed here"),
        ({"ratio": 0.8, "p": 0.0}, "2:4 sparsity will gain no speed here"),
        ({"ratio": 1.2, "p": 0.0}, "2:4 sparsity will gain speed here: up to 1.20 × the dense"),
    ],
)
def test_the_first_sentence_says_whether_anything_is_gained(given, first):
    assert preview.verdict(found(**given))[0].startswith(first)


def test_int8_and_rivals_are_told_where_they_are_measured():
    assert "int8" not in " ".join(preview.verdict(found()))
    text = " ".join(preview.verdict(found(int8=2.5, rivals=[{"width": 0.75}])))
    assert "int8 is up to 2.50 × as fast as fp32 here (tensorrt_sparse at batch 8)" in text
    assert "rival/width0.75 runs at 1.70 × the dense network's speed" in text
    text = " ".join(preview.verdict(found(int8=1.01)))
    assert "int8 is not faster than fp32 here" in text


def test_the_trainings_are_counted():
    text = " ".join(preview.verdict(found()))
    assert "12 epochs of about 1,437 images will take about 62 s, all 3 trainings together" in text
    assert "together about 3 min, at 301 img/s in fp32 on some processor" in text
    text = " ".join(preview.verdict(found(rivals=[{"width": 0.75}])))
    assert "all 4 trainings together about 4 min" in text  # 3.6 × 62 s
    assert "not counting quantisation-aware ones" in " ".join(preview.verdict(found(qat=True)))


def test_terminal_page_and_markdown_have_the_same_words():
    one = found(ratio=1.2, p=0.0)
    said = [preview.terminal(one, Path("x/preview.html")), preview.markdown(one)]
    said.append(preview.page(one, "x"))
    for sentence in preview.verdict(one):
        assert all(sentence.split()[:8] == _words(text, sentence) for text in said)
    assert max(map(len, said[0].splitlines())) <= display.WIDTH
    assert "layer1.0.conv1" in said[1] and "layer1.0.conv1" in said[2]


def _words(text, sentence):
    flat = " ".join(text.replace("&#39;", "'").split())
    return sentence.split()[:8] if " ".join(sentence.split()[:8]) in flat else flat
