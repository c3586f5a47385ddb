"""The sentences of the verdict, for every kind of outcome.

Each test builds a table whose rows are what a run would have measured, and reads what is said.
"""

import dataclasses
import re
from pathlib import Path

from twofour import models
from twofour.report import compare, display, outcome, statistics, words

import numpy as np
import pandas as pd
import pytest

BACKENDS = {"tensorrt_sparse": True, "onnxruntime": False}


def rows_of(
    sparse=(0, 0),
    images=1000,
    control=True,
    given=None,
    backends=("tensorrt_sparse",),
    ratio=1.0,
    p=1.0,
    noise=(0.99, 1.01),
    batches=(8,),
    tail=1.5,
    from_files=0.8,
    distilled=False,
):
    """A table: images that only the other or only the sparse model has right, and its speed."""
    known = models.table("mask_1d", given, distilled, control=control)
    lost, gained = sparse
    right = {"dense": 900, "dense_more": 905, "pruned": 300}
    base = right["dense_more" if control else "dense"]
    right["sparse"] = base - lost + gained
    frame = []
    for backend in backends:
        for batch in batches:
            for model in known:
                cells = dict.fromkeys(compare.COLUMNS, np.nan)
                cells |= {"model": model.name, "backend": backend, "precision": "fp16"}
                cells |= {"device": "some GPU", "batch_size": batch, "images": images}
                cells |= {"top1": 100 * right[model.name] / images, "top5": 99.0, "size_mb": 1.0}
                other = "dense_more" if control and model.kind == "sparse" else "dense"
                worse, better = sparse if model.kind == "sparse" else (0, 0)
                first, second = np.ones(images, bool), np.ones(images, bool)
                second[:worse], first[images - better :] = False, False
                found = statistics.difference(first, second)
                cells |= {"drop_against": other, "top1_drop": -found.points}
                cells |= {"drop_low": -found.high, "drop_high": -found.low, "drop_p": found.p}
                cells |= {"only_other": worse, "only_this": better, "top1_low": 0, "top1_high": 1}
                faster = ratio if model.kind == "sparse" else 1.0
                cells |= {"throughput_img_s": 100 * faster, "speedup": faster}
                cells |= {"speedup_low": faster - 0.01, "speedup_high": faster + 0.01}
                cells |= {"noise_low": noise[0], "noise_high": noise[1], "speedup_p": p}
                cells |= {"speedup_p_holm": p, "end_to_end_img_s": 100 * from_files}
                cells |= {"latency_p50_ms": 1.0, "latency_p99_ms": tail, "density": 0.5}
                cells |= {"sparse_kernels": BACKENDS[backend], "made": model.made}
                frame.append(cells)
    return compare.Table(pd.DataFrame(frame)[compare.COLUMNS], known)


def said(**given) -> str:
    return " ".join(words.verdict(outcome.read(rows_of(**given))))


# --- what it cost ---


def test_a_real_loss_is_a_cost_with_its_interval():
    text = said(sparse=(40, 10))
    assert text.startswith(
        "2:4 sparsity cost 3.00 points of top-1: 87.50 % (sparse) against 90.50 %"
    )
    assert "trained as long (95 % interval 1.6" in text and "1,000 validation images)" in text


def test_a_real_gain_is_told_as_one():
    text = said(sparse=(5, 30))
    assert text.startswith("The 2:4 sparse model is 2.50 points of top-1 better: 93.00 % (sparse)")


def test_no_difference_is_told_with_what_may_hide_behind_it():
    text = said(sparse=(6, 6), images=4000)
    assert "cost no top-1 that 4,000 validation images can show" in text
    assert "at most 0.1" in text or "at most 0.2" in text
    assert "cost 0" not in text and "better" not in text


def test_too_few_images_leave_it_open_and_say_how_many_would_do():
    text = said(sparse=(25, 15), images=1000)
    assert text.startswith(
        "Whether 2:4 sparsity costs accuracy cannot be told from 1,000 validation"
    )
    assert "about 3,100 validation images would show" in text
    same = said(sparse=(30, 30), images=1000)
    assert "cannot be told" in same and "would show" not in same


@pytest.mark.parametrize("sparse", [(40, 10), (5, 30), (25, 15), (6, 6)])
def test_without_a_control_every_verdict_says_that_it_is_unfair(sparse):
    text = said(sparse=sparse, control=False)
    assert "trained twice as long as the dense one (dense.control: true" in text
    assert "trained as long" not in text.replace("twice as long", "")
    assert "twice as long" not in said(sparse=sparse)


def test_a_given_network_is_named():
    text = said(sparse=(40, 10), control=False, given="x/r50.pth")
    assert "of the dense network in r50.pth (95 %" in text
    assert "has been trained on, and the one in r50.pth was not" in text
    fair = said(sparse=(40, 10), given="x/r50.pth")
    assert "trained as long" in fair and "was not" not in fair


# --- what it bought ---


def test_a_gain_is_told_with_its_place():
    text = said(ratio=1.3, p=0.001, batches=(8, 32))
    assert (
        "It was faster in tensorrt_sparse fp16 at batch 8 (1.30 ×) and tensorrt_sparse fp16 at "
        "batch 32 (1.30 ×)." in text
    )


def test_a_loss_is_told_too():
    assert "It was slower in tensorrt_sparse fp16 at batch 8 (0.70 ×)." in said(ratio=0.7, p=0.001)


@pytest.mark.parametrize(
    "given",
    [
        {"ratio": 1.3, "p": 0.2},  # chance
        {
            "ratio": 1.3,
            "p": 0.001,
            "noise": (0.7, 1.4),
        },  # the dense one differs as much from itself
        {"ratio": 1.015, "p": 0.001},  # too small to matter
        {"ratio": 0.7, "p": 0.001, "noise": (0.6, 1.0)},
    ],
)
def test_what_lies_within_the_noise_is_no_gain_and_no_loss(given):
    text = said(**given)
    assert "It bought no speed beyond the noise of the measurement in tensorrt_sparse fp16" in text
    assert "faster" not in text.split("which may use")[0] and "slower" not in text


def test_backends_without_such_kernels_can_gain_nothing_whatever_was_measured():
    text = said(backends=("onnxruntime",), ratio=1.5, p=1e-6)
    assert "It bought no speed here and could not: onnxruntime has no kernels that skip" in text
    assert "faster" not in text
    both = said(backends=("onnxruntime", "tensorrt_sparse"), ratio=1.5, p=1e-6)
    assert "faster in tensorrt_sparse fp16 at batch 8 (1.50 ×)." in both
    assert "onnxruntime" not in both


# --- int8 ---


def with_int8(dense=(0, 0), sparse=(0, 0), ratios=(2.0,), p=0.001, control=True, faster=1.0):
    """A table of fp32 and int8: images lost and gained by rounding, and with sparsity; speeds."""
    table = rows_of(control=control, backends=("onnxruntime",), batches=tuple(range(len(ratios))))
    frame = table.frame.assign(precision="fp32")
    rounded = frame.assign(precision="int8", same_as_fp32=99.5, compressed_mb=0.5)
    rounded["fp32_speedup_p"] = rounded["fp32_speedup_p_holm"] = p
    kinds = {model.name: model.kind for model in table.models}
    rounded["throughput_img_s"] *= 3
    for index, row in rounded.iterrows():
        kind = kinds[row["model"]]
        lost, gained = sparse if kind == "sparse" else dense
        first, second = np.ones(1000, bool), np.ones(1000, bool)
        second[:lost], first[1000 - gained :] = False, False
        found = statistics.difference(first, second)
        for drop in ("int8_drop", "both_drop"):
            cells = (-found.points, -found.high, -found.low, found.p)
            rounded.loc[index, [drop, *compare.DROPS[drop]]] = cells
        rounded.loc[index, "top1"] = 90.5 - (lost - gained) / 10
        ratio = ratios[int(row["batch_size"])] * (faster if kind == "sparse" else 1)
        rounded.loc[index, "fp32_speedup"] = ratio
        rounded.loc[index, ["fp32_speedup_low", "fp32_speedup_high"]] = [ratio, ratio]
    return compare.Table(pd.concat([frame, rounded], ignore_index=True), table.models)


def said_of_int8(**given):
    return " ".join(words.verdict(outcome.read(with_int8(**given))))


def test_int8_has_its_own_sentences_and_the_cost_of_sparsity_is_that_in_fp32():
    text = said_of_int8(dense=(8, 2), sparse=(50, 10))
    assert "cost no top-1 that 1,000 validation images can show: 90.50 % (sparse)" in text
    assert "In int8 (onnxruntime) the dense model has 89.90 %, 0.60 points less than in" in text
    assert "the sparse model has 86.50 %, 4.00 points less than the dense one trained as" in text
    low, high = re.search(r"in fp32 \(95 % interval ([\d.]+) to ([\d.]+)\)", text).groups()
    assert float(low) < 4 < float(high)
    assert text.count("it may be chance") == 1  # the first of both
    assert "They ran at 2.00 × the dense fp32 model's speed." in text


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "the dense model has 90.50 %, as much as in fp32"),
        ({"dense": (0, 30)}, "93.50 %, 3.00 points more than in fp32 (95 % interval 1."),
        ({"control": False}, "as much as the dense one in fp32"),
        ({"ratios": (1.5, 3.0)}, "They ran at 1.50 to 3.00 × the dense fp32 model's speed."),
        ({"p": 0.5}, "They were not faster than in fp32 beyond the noise of the measurement."),
        ({"ratios": (0.5,)}, "They were slower, at 0.50 ×, in 2 of 2 cases."),
        (
            {"ratios": (1.01, 2.0)},
            "They ran at 2.00 × the dense fp32 model's speed and showed no difference beyond the "
            "noise in 2 of 4 cases.",
        ),
    ],
)
def test_what_int8_cost_and_bought(given, sentence):
    assert sentence in said_of_int8(**given)


def test_what_to_deploy_is_the_fastest_that_costs_no_more_than_a_point_for_certain():
    text = said_of_int8()
    assert "To deploy here: the dense model in int8 with onnxruntime (90.50 %, 300 img/s" in text
    text = said_of_int8(dense=(60, 10), sparse=(60, 10))  # rounding costs five points
    assert "To deploy here: the dense model in fp32 with onnxruntime (90.00 %, 100 img/s" in text
    table = with_int8()
    sparse = (table.frame["model"] == "sparse") & (table.frame["precision"] == "int8")
    table.frame.loc[sparse, ["throughput_img_s", "speedup", "speedup_p_holm"]] = [400, 1.3, 1e-4]
    assert "the sparse model in int8" in " ".join(words.verdict(outcome.read(table)))
    assert "To deploy" not in said()  # without int8 there is no such choice


def test_a_rival_may_be_the_one_to_deploy_and_stands_beside_the_others():
    table = rows_of(backends=("onnxruntime",))
    rival = models.table("mask_1d", rivals=[{"width": 0.5}])[-1]
    rows = table.frame[table.frame["model"] == "dense"].copy()
    rows["model"], rows["precision"] = rival.name, "fp32"
    rows["throughput_img_s"] = 400.0
    frame = pd.concat([table.frame.assign(precision="fp32"), rows], ignore_index=True)
    table = compare.Table(frame, [*table.models, rival])
    text = " ".join(words.verdict(outcome.read(table)))
    assert "To deploy here: the dense network rival/width0.5 in fp32 with onnxruntime" in text
    assert "rival/width0.5 is not faster than the dense model beyond the noise" in text
    grid = display.square(table)
    assert [row[0] for row in grid.rows] == ["dense", "dense_more", "sparse", "rival/width0.5"]
    assert grid.rows[-1][1].endswith("400 img/s, 1.00 MB") and " to " in grid.rows[0][1]
    shown = display.terminal(table, Path("page.html")).splitlines()
    assert all(len(line) <= 79 for line in shown)
    long = rival.name.replace("width0.5", "resnet101-width0.5-blocks1-1-2-1")
    renamed = compare.Table(
        frame.replace({"model": {rival.name: long}}),
        [*table.models[:-1], dataclasses.replace(rival, name=long)],
    )
    shown = display.terminal(renamed, Path("page.html")).splitlines()
    assert all(len(line) <= 79 for line in shown) and any(long in line for line in shown)
    assert not any("MB" in line for line in shown)
    frame.loc[frame["model"] == rival.name, ["top1_drop", "drop_p"]] = [5.0, 0.0001]
    text = " ".join(words.verdict(outcome.read(table)))
    assert "To deploy here: the dense model" in text
    assert display.square(rows_of(backends=("onnxruntime",))) is None


def test_the_tables_show_what_rounding_cost():
    table = with_int8(dense=(8, 2), sparse=(50, 10))
    grid = display.accuracy(table)
    rows = [dict(zip(grid.headings, row)) for row in grid.rows]
    last = rows[-1]
    assert (last["model"], last["precision"]) == ("sparse", "int8")
    assert (last["both drop"], last["as in fp32 %"], last["compressed MB"]) == (
        "4.00",
        "99.50",
        "0.50",
    )
    assert rows[0]["int8 drop"] == ""
    shown = display.terminal(table, Path("page.html"))
    assert "arithmetic" in shown and all(len(line) <= 79 for line in shown.splitlines()[:-2])
    assert any("int8 drop: points below the same model in fp32" in n for n in display.notes(table))


# --- whether to believe it ---


@pytest.mark.parametrize(
    ("given", "sign"),
    [
        ({"noise": (0.8, 1.1)}, "the dense model, measured twice, seemed 1.2 × as fast as itself"),
        ({"noise": (1.2, 1.3)}, "seemed 1.3 × as fast"),
        ({"tail": 9.0}, "in 1 of 1 cases the slowest batches took many times the median"),
        ({"from_files": 1.3}, "in 1 of 1 cases reading files cost less than nothing"),
    ],
)
def test_a_busy_machine_is_said_to_be_busy(given, sign):
    text = said(**given)
    assert "Speed was measured with much noise, as on a busy machine" in text and sign in text
    assert text.index("busy") > text.index("It bought")  # noise comes last
    assert "busy" not in said()


def test_a_gpu_that_slowed_itself_down_is_named_with_the_reasons():
    table = rows_of()
    table.frame["gpu_slowed"] = ["power limit", "power limit, temperature (driver)", None, None]
    text = " ".join(words.verdict(outcome.read(table)))
    assert "slower than it can in some measurements (power limit and temperature" in text
    assert "slower than" not in said()


def test_energy_and_clocks_are_columns_where_they_were_read():
    table = rows_of()
    assert not {"J per image", "MHz"} & set(display.speed(table).headings)
    table.frame["joules_per_image"], table.frame["gpu_mhz"] = 0.12345, 1410.0
    grid = display.speed(table)
    cells = dict(zip(grid.headings, grid.rows[0]))
    assert (cells["J per image"], cells["MHz"]) == ("0.123", "1410")
    assert any("J per image: energy of the whole" in note for note in display.notes(table))


# --- further sentences ---


def test_details_say_what_pruning_alone_did_and_how_much_controls_vary():
    table = rows_of(sparse=(10, 10), backends=("onnxruntime", "tensorrt_sparse"), ratio=1.2, p=0.5)
    text = " ".join(words.details(outcome.read(table)))
    assert (
        "Pruning alone took top-1 from 90.00 % to 30.00 %; retraining brought it to 90.50 %" in text
    )
    assert "In onnxruntime, which runs the same dense kernels for both" in text
    assert "Fastest: onnxruntime fp16 at batch 8, 100 img/s dense and 120 sparse." in text


def test_of_several_branches_each_is_named():
    frame = pd.concat([rows_of(sparse=(40, 10)).frame, rows_of(sparse=(10, 10)).frame])
    second = frame.iloc[4:].copy()
    second["model"] = second["model"].replace(
        {"pruned": "pruned/mask_2d_best", "sparse": "sparse/mask_2d_best"}
    )
    keep = second[second["model"].str.contains("/")]
    known = models.table(["mask_1d", "mask_2d_best"], control=True)
    table = compare.Table(pd.concat([frame.iloc[:4], keep], ignore_index=True), known)
    text = " ".join(words.verdict(outcome.read(table)))
    assert "2:4 sparsity by mask_1d cost 3.00 points" in text
    assert "by mask_2d_best" in text


# --- where they are shown ---


def test_page_terminal_and_markdown_have_the_same_verdict(tmp_path):
    table = rows_of(sparse=(40, 10), ratio=1.3, p=0.001)
    sentences = words.verdict(outcome.read(table))
    shown = display.terminal(table, tmp_path / "page.html")
    for sentence in sentences:
        assert sentence in display.markdown(table)
        assert sentence.replace(" ", "") in shown.replace("\n", "").replace(" ", "")
    assert all(len(line) <= 79 for line in shown.splitlines()[:-2])
    assert "sparse" in shown and "1.6" in shown.replace("−", "-")


def test_the_dense_model_is_not_compared_with_itself():
    grid = display.accuracy(rows_of(sparse=(40, 10)))
    cells = dict(zip(grid.headings, grid.rows[0]))
    assert (cells["model"], cells["drop"], cells["against"]) == ("dense", "", "")
    assert dict(zip(grid.headings, grid.rows[-1]))["against"] == "dense_more"
    assert grid.kinds == ["dense", "control", "pruned", "sparse"]


def test_columns_that_nothing_was_measured_of_are_not_shown():
    table = rows_of()
    assert "GPU alone" not in display.speed(table).headings
    table.frame["device_speedup"] = 1.0
    assert "GPU alone" in display.speed(table).headings and "GPU alone" in display.markdown(table)


def test_notes_of_equal_backends_are_joined():
    table = rows_of(backends=("onnxruntime", "tensorrt_sparse"), distilled=True)
    table.frame["note"] = "dense kernels"
    found = display.notes(table)
    assert found[0] == "onnxruntime and tensorrt_sparse: dense kernels."
    assert any(note.startswith("sparse: retrained to match") for note in found)
