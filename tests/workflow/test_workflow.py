"""The whole workflow on a tiny configuration, and what reruns when."""

import importlib.util
import json
import os
import re
import shutil
from pathlib import Path

from twofour.deploy import export, triton
from twofour.network import weights
from twofour.report import certificate
from twofour.sparse import check, masks, pattern
from twofour.system import codehash, files, hardware
from twofour.system.errors import TwoFourError

import browser
import numpy as np
import onnx
import pandas as pd
import pytest
import yaml
from conftest import ROOT, TINY, make_images, merged, named_rules, program, snakemake
from google.protobuf import text_format

pytestmark = pytest.mark.workflow
RUN = "results/tiny"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run: its folder, with config.yaml in it."""
    folder = tmp_path_factory.mktemp("workflow")
    make_images(folder / "my images")
    config = merged(TINY, {"run": "tiny", "data": {"root": "my images"}})
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    snakemake(folder, "--configfile", "config.yaml", "--cores", 2)
    return folder


CASES = ("paddle-fp32", "onnxruntime-fp32", "openvino-fp32")
PADDLE = {"backends": ["paddle"]}


def planned(folder, changes=None, *arguments) -> set[str]:
    """Rules that a dry run would run with ``changes`` to the config."""
    config = merged(yaml.safe_load((folder / "config.yaml").read_text()), changes or {})
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(config))
    done = snakemake(folder, "--configfile", "changed.yaml", "--cores", 2, "-n", *arguments)
    return named_rules(done.stdout + done.stderr)


ARTIFACTS = [
    *(
        f"dataset/{n}"
        for n in ("train.txt", "val.txt", "classes.txt", "dataset.json", "rejected.csv")
    ),
    *(f"dense/{n}" for n in ("model.pdparams", "metrics.csv", "train.json")),
    *(f"pruned/{n}" for n in ("model.pdparams", "sparsity.json")),
    *(f"sparse/{n}" for n in ("model.pdparams", "metrics.csv", "train.json", "sparsity.json")),
    *(f"deploy/sparse/{n}" for n in ("model.onnx", "model.pdmodel", "paddle-fp32/build.json")),
    *("deploy/pruned/check.json", "deploy/sparse/check.json"),
    "evaluation/pruned/onnxruntime-fp32.json",
    "benchmark/dense/paddle-fp32.json",
    *("comparison.csv", "comparison.md", "report.html", "provenance.json", "plots/training.svg"),
]


def test_snakemake_notes_little_of_each_output(run):
    """It reads all records at each start; the conda file alone would add 200 KB to each."""
    records = list((run / ".snakemake" / "metadata").iterdir())
    assert len(records) > 30
    assert max(record.stat().st_size for record in records) < 30_000


def test_conda_files_are_used_where_snakemake_is_asked_for_them(run, tmp_path):
    """With a stand-in that answers Snakemake as conda does; none is installed here."""
    answer = {
        "conda_version": "24.7.1",
        "platform": "linux-64",
        "get": {"channel_priority": "strict"},
    }
    answer.update(dict.fromkeys(("conda_prefix", "root_prefix"), str(tmp_path)))
    conda = tmp_path / "conda"
    conda.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    conda.chmod(0o755)
    asked = ("--configfile", "config.yaml", "-n", "--forcerun", "plot", "--sdm", "conda")
    done = snakemake(run, *asked, path=tmp_path)
    assert re.search("Conda environment .*envs/cpu/environment.yaml will be created", done.stdout)


def test_artifacts(run):
    results = run / RUN
    for name in ARTIFACTS:
        assert (results / name).stat().st_size > 0, name


def test_table(run):
    table = pd.read_csv(run / RUN / "comparison.csv")
    backends = ["paddle", "onnxruntime", "openvino"]
    assert sorted(set(table["backend"])) == sorted(backends)
    assert len(table) == 3 * len(backends) * 2
    assert (table["images"] == 40).all()
    assert set(table["device"]) and not table["device"].str.contains("gpu").any()
    assert table["density"].tolist() == [1.0, 0.5, 0.5] * (len(backends) * 2)
    dense = table[table["model"] == "dense"]
    assert (dense["speedup"] == 1).all() and (dense["top1_drop"] == 0).all()
    for _, row in table.iterrows():
        base = dense[
            (dense["backend"] == row["backend"]) & (dense["batch_size"] == row["batch_size"])
        ].iloc[0]
        assert row["speedup"] == pytest.approx(
            row["throughput_img_s"] / base["throughput_img_s"], rel=1e-4
        )
        assert row["top1_drop"] == pytest.approx(base["top1"] - row["top1"], abs=1e-4)
        assert row["latency_p50_ms"] <= row["latency_p90_ms"] <= row["latency_p99_ms"]


def test_deployed_models_agree_with_the_training_graph_and_its_record(run):
    for model in ("dense", "pruned", "sparse"):
        for backend in ("paddle", "onnxruntime", "openvino"):
            result = json.loads(
                (run / RUN / "evaluation" / model / f"{backend}-fp32.json").read_text()
            )
            assert result["agreement"]["largest_difference"] < 1e-4
            assert result["training_graph"]["images"] == result["images"] == 40
            if model != "pruned":
                record = json.loads((run / RUN / model / "train.json").read_text())
                assert result["training_graph"]["top1"] == record["top1"]


def test_disagreement_beyond_the_tolerance_fails_and_is_judged_anew_by_another(run, tmp_path):
    results, model = run / RUN, tmp_path / "dense"
    shutil.copytree(results / "deploy/dense", model)

    def evaluate(tolerance):
        config = merged(TINY, {"evaluation": {"tolerance": {"fp32": tolerance}}})
        return program(
            "evaluate.py",
            *("--config", json.dumps(config), "--data", results / "dataset"),
            *("--model", model, "--build", model / "onnxruntime-fp32"),
            *("--reference", results / "reference/pruned.npz", "--out", tmp_path / "out.json"),
            *("--predictions", tmp_path / "out.npz"),
            check=False,
            cwd=run,
        )

    done = evaluate(1e-12)
    assert done.returncode == 1
    assert "evaluation.tolerance.fp32 (1e-12)" in done.stderr
    assert not (tmp_path / "out.json").exists()
    done = evaluate(1)
    assert done.returncode == 0 and "onnxruntime fp32 (known)" in done.stderr


def evaluated_again(folder, tmp_path, changes=None, builds=CASES) -> dict[str, str]:
    """{backend-precision: "known" or "computed"} of the dense model's builds, evaluated once more.

    With the run's settings, but for ``changes``; all results must be as they were.
    """
    results = folder / RUN
    config = merged(yaml.safe_load((folder / "config.yaml").read_text()), changes or {})
    out = [tmp_path / f"{case}.json" for case in builds]
    predictions = [tmp_path / f"{case}.npz" for case in builds]
    done = program(
        "evaluate.py",
        *("--config", json.dumps(config), "--data", results / "dataset"),
        *("--model", results / "deploy/dense"),
        *("--build", *(results / f"deploy/dense/{case}" for case in builds)),
        *("--reference", results / "reference/dense.npz"),
        *("--out", *out, "--predictions", *predictions),
        cwd=folder,
    )
    for case, result, found in zip(builds, out, predictions):
        former = results / "evaluation" / "dense" / f"{case}.json"
        loss = json.loads(former.read_text())["loss"]  # the order of a sum is the batches'
        assert json.loads(result.read_text())["loss"] == pytest.approx(loss)
        before = files.read_arrays(former.with_suffix(".predictions.npz"))
        for name, values in files.read_arrays(found).items():
            assert values.dtype.kind in "uU" or np.allclose(values, before[name], atol=1e-6)
            assert values.dtype.kind == "f" or np.array_equal(values, before[name])
    said = re.findall(r"(\w+ \w+)( \(known\))?: top-1", done.stderr)
    return {case.replace(" ", "-"): "known" if known else "computed" for case, known in said}


def test_what_was_found_of_a_build_stands_until_something_that_decides_it_changes(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy", symlinks=True)
    run = tmp_path / "copy"
    everything = dict.fromkeys(CASES, "known")
    assert evaluated_again(run, tmp_path) == everything
    # It is judged again, but not computed again.
    looser = {"evaluation": {"tolerance": {"fp32": 0.01}}}
    assert evaluated_again(run, tmp_path, looser) == everything
    smaller = {"evaluation": {"batch_size": 5}}
    assert set(evaluated_again(run, tmp_path, smaller).values()) == {"computed"}
    assert evaluated_again(run, tmp_path, smaller) == everything
    build = run / RUN / "deploy/dense/openvino-fp32/build.json"
    build.write_text(json.dumps({**json.loads(build.read_text()), "version": "another"}))
    found = evaluated_again(run, tmp_path, smaller)
    assert found == {**everything, "openvino-fp32": "computed"}
    assert set(evaluated_again(run, tmp_path).values()) == {"computed"}


def test_a_new_build_has_nothing_known_of_it(run, tmp_path):
    shutil.copytree(run / RUN / "deploy/dense", tmp_path / "dense")
    folder = tmp_path / "dense" / "onnxruntime-fp32"
    assert (folder / "evaluated.npz").is_file()
    model = ("--model", tmp_path / "dense", "--backend", "onnxruntime")
    program("build.py", "--config", "{}", *model, "--out", folder)
    assert not (folder / "evaluated.npz").exists()


def test_pattern_in_every_artifact(run):
    results = run / RUN
    layers = json.loads((results / "sparse" / "sparsity.json").read_text())["layers"]
    names = [layer["name"] for layer in layers if layer["sparse"]]
    assert len(names) == 16
    for model in ("pruned", "sparse"):
        source = weights.load(results / model / "model.pdparams")
        for found in (
            source,
            export.paddle_weights(results / "deploy" / model),
            export.onnx_weights(results / "deploy" / model / "model.onnx"),
        ):
            for name in names:
                assert pattern.holds(found[name]), (model, name)
                assert np.array_equal(found[name], source[name])


def test_each_file_was_checked_and_folding_keeps_the_pattern(run, tmp_path):
    """Paddle Inference folds batch norm into the convolutions when it loads a model."""
    from paddle import inference

    for model in ("pruned", "sparse"):
        folder = run / RUN / "deploy" / model
        reports = json.loads((folder / "check.json").read_text())
        assert [Path(r["file"]).name for r in reports] == [
            "model.pdparams",
            "model.pdmodel",
            "model.onnx",
        ]
        assert all(sum(row["required"] for row in r["layers"]) == 16 for r in reports)
        assert all(row["passed"] for r in reports for row in r["layers"])

        config = inference.Config(str(folder / "model.pdmodel"), str(folder / "model.pdiparams"))
        config.disable_gpu()
        config.enable_mkldnn()
        config.set_optim_cache_dir(str(tmp_path / model))
        config.enable_save_optim_model(True)
        inference.create_predictor(config)
        folded = check.check(check.read(tmp_path / model).layers)
        assert {v.operator for v in folded} >= {"fused_conv2d"}  # folding took place
        assert sum(v.eligible and v.broken == 0 for v in folded) == 16


def test_a_filled_zero_stops_before_anything_is_built(run, tmp_path):
    """As if a converter had filled it: the file breaks what sparsity.json promises."""
    results = run / RUN
    state = weights.load(results / "sparse" / "model.pdparams")
    state["layer2.0.conv2.weight"][0, :4, 0, 0] = 1
    weights.save(tmp_path / "model.pdparams", state)
    done = program(
        *("check.py", results / "deploy/sparse/model.onnx", tmp_path / "model.pdparams"),
        *("--sparsity", results / "pruned/sparsity.json", "--out", tmp_path / "check.json"),
        check=False,
    )
    assert done.returncode == 1
    assert "layer2.0.conv2.weight in" in done.stderr and "BREAKS 2:4 in 1 of" in done.stdout


def test_onnx_batch_is_free_and_gives_probabilities(run):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(run / RUN / "deploy" / "sparse" / "model.onnx"))
    for batch in (1, 3):
        (p,) = session.run(None, {"images": np.zeros((batch, 3, 32, 32), "float32")})
        assert p.shape == (batch, 2)
        np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)


def test_report_is_self_contained(run):
    page = (run / RUN / "report.html").read_text()
    assert page.count("<svg") == 5
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in links)
    assert "Pruning alone took top-1" in page


def test_snakemakes_own_report_has_table_pictures_and_page(run, tmp_path):
    snakemake(run, "--configfile", "config.yaml", "--report", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for name in ("comparison.csv", "training.svg", "models.svg", "layers.svg", "report.html"):
        assert name in page
    assert "the share of the dense weights" in page  # a caption


def test_second_run_starts_no_job_and_touching_reruns_nothing(run):
    assert planned(run) == set()
    for path in (run / RUN / "dense" / "model.pdparams", run / RUN / "dataset" / "train.txt"):
        os.utime(path)
    assert planned(run) == set()


# What is downstream of each rule. Which stages see which key and module: tests/unit/test_stages.py.
REPORTED = {"record_provenance", "report", "release"}
COMPARED = {"compare", "plot", *REPORTED}
MEASURED = {"evaluate", "benchmark", *COMPARED}
DEPLOYED = {"export", "check", "build", "reference", *MEASURED}
PRUNED = {"prune", "train_sparse", *DEPLOYED}
DENSE = {"train_dense", *PRUNED}
DATASET = {"prepare_dataset", *DENSE}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train": {"label_smoothing": 0.0}}, DENSE),
        ({"sparsity": {"algorithm": "mask_2d_best"}}, {"list_models", *PRUNED}),
        ({"sparsity": {"permute": True}}, {"permute", *PRUNED}),
        ({"benchmark": {"steps": 6}}, {"benchmark", *COMPARED}),
        # Evaluation takes over what it knows, of fewer builds.
        ({"deploy": PADDLE}, {"evaluate", *COMPARED}),
        ({"accept": {"max_top1_drop": 90}}, {"accept", *REPORTED}),
    ],
)
def test_changed_key_reruns_its_stages_and_what_follows(run, changes, expected):
    assert planned(run, changes) == expected


def planned_with(run, tmp_path, config, *modules) -> set[str]:
    """Rules that would run if a line were added to these modules, in a copy of the repository."""
    copy = tmp_path / "repository"
    copy.mkdir()
    shutil.copy(ROOT / "Snakefile", copy)
    for name in ("workflow", "profiles"):
        shutil.copytree(ROOT / name, copy / name)
    package = copy / "workflow" / "scripts" / "twofour"
    for module in modules:
        path = package / (module.replace(".", "/") + ".py")
        path.write_text(path.read_text() + "\n# changed\n")
    arguments = ("-s", copy / "Snakefile", "--configfile", config, "--cores", 2, "-n")
    done = snakemake(run, *arguments, package=package.parent)
    return named_rules(done.stdout + done.stderr)


def test_changed_plumbing_reruns_nothing(run, tmp_path):
    every = [
        ".".join(path.relative_to(codehash.PACKAGE).with_suffix("").parts)
        for path in codehash.PACKAGE.rglob("*.py")
    ]
    plumbing = [m for m in every if not m.endswith("__init__") and not codehash.decides(m)]
    assert len(plumbing) > 20
    assert planned_with(run, tmp_path, "config.yaml", *plumbing) == set()


def test_changed_loss_reruns_both_trainings_and_what_follows(run, tmp_path):
    assert planned_with(run, tmp_path, "config.yaml", "train.training_graph") == DENSE


def test_added_image_reruns_from_the_dataset_on(run):
    extra = run / "my images" / "train" / "bright" / "new.jpg"
    shutil.copy(extra.parent / "image 00.jpg", extra)
    assert planned(run) == DATASET
    extra.unlink()
    assert planned(run) == set()


def test_changed_files_that_make_the_same_lists_rerun_only_what_tells_of_them(run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run, folder, symlinks=True)
    image = folder / "my images" / "train" / "bright" / "image 00.jpg"
    with image.open("ab") as file:
        file.write(b"behind the picture")  # another file with the same pixels
    lists = (folder / RUN / "dataset" / "train.txt").read_text()
    told = {"prepare_dataset", "report", "release"}
    done = snakemake(folder, "--configfile", "config.yaml", "--cores", 2)
    assert named_rules(done.stdout + done.stderr) == told
    assert planned(folder) == set()
    with image.open("ab") as file:
        file.write(b"and more")
    changed = {"evaluate", "compare", "plot", "record_provenance"}
    config = merged(yaml.safe_load((folder / "config.yaml").read_text()), {"deploy": PADDLE})
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(folder, "--configfile", "config.yaml", "--cores", 2)
    assert named_rules(done.stdout + done.stderr) == told | changed  # and the key is not forgotten
    assert (folder / RUN / "dataset" / "train.txt").read_text() == lists


def test_a_dataset_stage_that_failed_makes_nothing_run_again_once_it_is_mended(run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run, folder, symlinks=True)
    junk = folder / "my images" / "train" / "bright" / "junk.jpg"
    junk.write_bytes(b"junk")
    arguments = ("--configfile", "config.yaml", "--cores", 2)
    done = snakemake(folder, *arguments, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: prepare_dataset: 1 of 81 files cannot be used")
    junk.unlink()
    done = snakemake(folder, *arguments)
    assert named_rules(done.stdout + done.stderr) == {"prepare_dataset"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"epoch": 1}}, "unknown key train.epoch; did you mean train.epochs?"),
        (
            {"data": {"root": "elsewhere"}},
            "/elsewhere does not exist; name the folder that holds your images",
        ),
        ({"data": {"root": None}}, "data.root is missing"),
        (
            {"sparsity": {"exclude": ["layer9.*"]}},
            "sparsity.exclude: resnet50 has no weight 'layer9",
        ),
        (
            {"deploy": {"precisions": ["fp16"]}},
            "deploy.precisions lists none that paddle has: fp32",
        ),
    ],
)
def test_bad_config_stops_before_anything_runs(run, changes, message):
    config = merged(yaml.safe_load((run / "config.yaml").read_text()), changes)
    (run / "bad.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(run, "--configfile", "bad.yaml", "--cores", 1, "-n", check=False)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_snakemake_gets_texts_as_they_were_typed(run):
    """By itself Snakemake reads 0010 as 10, and keeps the last of two equal keys."""
    done = snakemake(run, "--configfile", "config.yaml", "--config", "run=0010", "-n", "-p")
    assert "results/0010/" in done.stdout + done.stderr
    text = (run / "config.yaml").read_text()
    (run / "twice.yaml").write_text(f"{text}\nrun: b\n")
    done = snakemake(run, "--configfile", "twice.yaml", "-n", check=False)
    assert "run is given twice" in done.stdout + done.stderr


def test_gate_runs_after_the_report_and_the_command_line_sets_it(run):
    """Snakemake passes the values inside --config as text."""
    done = snakemake(
        run,
        *("--configfile", "config.yaml", "--cores", 2),
        *("--config", 'accept={"max_top1_drop": 99.5}', "run=tiny"),
    )
    record = json.loads((run / RUN / "accept.json").read_text())
    assert record["max_top1_drop"] == 99.5, done.stderr


BRANCHED = {
    "run": "branched",
    "sparsity": {
        "algorithm": ["mask_1d", "mask_2d_best"],
        "include": ["layer*"],
        "exclude": ["*.shortcut.*"],
        "permute": True,
    },
    "train": {"epochs": 1},
    "deploy": {"backends": ["onnxruntime"]},
    "benchmark": {"batch_sizes": [2]},
}


def test_a_preview_needs_no_dataset_and_no_training(run, tmp_path):
    make_images(tmp_path / "my images")
    changes = {
        "rivals": [{"model": {"width": 0.25}}],
        "deploy": {"backends": ["onnxruntime"]},
        "benchmark": {"batch_sizes": [1]},
    }
    config = merged(yaml.safe_load((run / "config.yaml").read_text()), changes)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    arguments = ("preview", "--configfile", "config.yaml", "--cores", 2)
    done = snakemake(tmp_path, *arguments)
    assert "2:4 sparsity will gain no speed here" in done.stdout + done.stderr
    folder = tmp_path / RUN / "preview"
    assert not (tmp_path / RUN / "dataset").exists()
    assert not (tmp_path / RUN / "dense").exists()
    table = pd.read_csv(folder / "preview.csv")
    assert set(table["model"]) == {"dense", "rival/width0.25", "pruned"}
    pruned = weights.load(folder / "pruned" / "model.pdparams")
    layers = files.read_json(folder / "pruned" / "sparsity.json")["layers"]
    assert all(pattern.holds(pruned[row["name"]]) for row in layers if row["sparse"])
    onnx_file = export.onnx_weights(folder / "deploy" / "pruned" / "model.onnx")
    assert pattern.holds(onnx_file["layer1.0.conv2.weight"])
    assert named_rules(snakemake(tmp_path, *arguments, "-n").stdout) == set()
    changed = ("--config", 'train={"epochs": 7}')
    again = snakemake(tmp_path, *arguments, "-n", *changed)
    assert named_rules(again.stdout + again.stderr) == {"measure_training", "summarize_preview"}


def test_a_rival_is_one_more_training_and_changes_nothing_else(run):
    rivals = {"rivals": [{"model": {"width": 0.25}}]}
    assert planned(run, rivals) == {
        *("list_models", "train_rival", "export", "build", "reference"),
        *("evaluate", "benchmark", *COMPARED),
    }


CHOSEN = {"sparsity": {"algorithm": "wanda", "choose": {"max_top1_drop": 100}}}
WEIGHED = {"measure_inputs", "measure_sensitivity", "choose_layers", "plot_sensitivity"}


def test_layers_are_chosen_by_a_measurement_that_another_budget_leaves_alone(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder, symlinks=True)
    assert planned(folder, {"sparsity": {"sensitivity": True}}) == {
        *("measure_sensitivity", "plot_sensitivity", *REPORTED),
    }
    assert planned(folder, CHOSEN) == {*WEIGHED, "list_models", *PRUNED}
    pruned, plot = f"{RUN}/pruned/wanda/sparsity.json", f"{RUN}/sensitivity/wanda/pareto.svg"
    snakemake(folder, "--configfile", "changed.yaml", "--cores", 2, pruned, plot)
    made = files.read_json(folder / RUN / "sensitivity" / "wanda" / "choice.json")
    rows = files.read_json(folder / pruned)["layers"]
    sparse = [row["name"] for row in rows if row["sparse"]]
    assert sparse == [name for name, one in made["choices"].items() if one["sparse"]]
    assert len(sparse) == made["layers"] == made["of"] and made["top1_drop"] <= 100
    arrays = weights.load(folder / RUN / "pruned" / "wanda" / "model.pdparams")
    assert all(pattern.holds(arrays[name]) for name in sparse)
    other = merged(CHOSEN, {"sparsity": {"choose": {"max_top1_drop": 50}}})
    again = planned(folder, other)
    assert again == {"choose_layers", "plot_sensitivity", "list_models", *PRUNED}


@pytest.fixture(scope="module")
def branched(run):
    """A finished run of two algorithms, with permutation; its results folder."""
    config = merged(yaml.safe_load((run / "config.yaml").read_text()), BRANCHED)
    (run / "branched.yaml").write_text(yaml.safe_dump(config))
    snakemake(run, "--configfile", "branched.yaml", "--cores", 2)
    return run / "results" / "branched"


def test_each_algorithm_is_a_branch_with_rows_of_its_own(branched):
    table = pd.read_csv(branched / "comparison.csv")
    assert table["model"].tolist() == [
        "dense",
        "pruned",
        "sparse",
        "pruned/mask_2d_best",
        "sparse/mask_2d_best",
    ]
    assert table["density"].tolist() == [1.0, 0.5, 0.5, 0.5, 0.5]
    one, best = (masks.load(branched / f"{a}/masks.npz") for a in ("pruned", "pruned/mask_2d_best"))
    assert one.keys() == best.keys() and len(one) == 12
    for model, kept in (("sparse", one), ("sparse/mask_2d_best", best)):
        trained = weights.load(branched / f"{model}/model.pdparams")
        for name, mask in kept.items():
            assert not trained[name][~mask].any()  # the mask of this branch held
            assert model == "sparse" or pattern.holds(np.swapaxes(trained[name], 0, 1))
    assert any((one[name] != best[name]).any() for name in one)


def test_permutation_kept_the_function_and_more_magnitude(branched):
    record = json.loads((branched / "permuted" / "permutation.json").read_text())
    assert record["largest_difference"] < 1e-5
    kept = record["kept_magnitude_mask_1d"]
    assert kept["after"] > kept["before"]
    report = json.loads((branched / "pruned/sparsity.json").read_text())
    assert report["total"]["kept_magnitude"] == pytest.approx(kept["after"])
    assert report["total"]["kept_magnitude_unpermuted"] == pytest.approx(kept["before"])
    dense, permuted = (
        weights.load(branched / f"{name}/model.pdparams") for name in ("dense", "permuted")
    )
    moved = [name for name in dense if not np.array_equal(dense[name], permuted[name])]
    assert "layer1.0.conv2.weight" in moved and "classifier.bias" not in moved


def test_reasons_are_in_the_report_and_beside_the_masks(branched):
    for path in ("pruned/sparsity.json", "sparse/mask_2d_best/sparsity.json"):
        rows = json.loads((branched / path).read_text())["layers"]
        reasons = {row["name"]: row["reason"] for row in rows}
        assert "sparsity.exclude names *.shortcut.*" in reasons["layer1.0.shortcut.conv.weight"]
        assert "sparsity.include" in reasons["classifier.weight"]
        assert reasons["layer1.0.conv2.weight"].startswith("2:4 along its")
    page = (branched / "report.html").read_text()
    assert "sparsity.exclude names *.shortcut.*" in page
    assert "mask_2d_best made 12 of 18 layers 2:4 sparse" in page


@pytest.mark.parametrize(
    ("algorithms", "trained"),
    [
        (["mask_2d_greedy", "mask_1d", "mask_2d_best"], {"sparse/mask_2d_greedy"}),
        ("mask_1d", set()),
        ("mask_2d_best", set()),
    ],
)
def test_a_branch_is_the_same_whatever_stands_beside_it(run, branched, algorithms, trained):
    config = yaml.safe_load((run / "branched.yaml").read_text())
    config["sparsity"]["algorithm"] = algorithms
    (run / "more.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(run, "--configfile", "more.yaml", "--cores", 2, "-n", "-p")
    text = done.stdout + done.stderr
    outputs = [line for line in text.splitlines() if line.strip().startswith("output: ")]
    found = re.findall(r"results/branched/([\w/]+)/model.pdparams", "".join(outputs))
    assert {name for name in found if not name.startswith("pruned")} == trained
    assert "rule train_dense:" not in text and "rule permute:" not in text


def test_changed_permutation_reruns_from_it(run, branched, tmp_path):
    assert planned_with(run, tmp_path, "branched.yaml", "sparse.permute") == {"permute", *PRUNED}


def test_engines_are_built_for_the_batch_sizes_of_the_config(run):
    """Only backends that are built for batch sizes depend on them."""
    changes = {"deploy": {"backends": ["onnxruntime", "tensorrt"], "precisions": ["fp32", "fp16"]}}
    config = merged(yaml.safe_load((run / "config.yaml").read_text()), changes)
    (run / "changed.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(run, "--configfile", "changed.yaml", "--cores", 2, "-n", "-p")
    lines = [
        line for line in (done.stdout + done.stderr).splitlines() if " build --config " in line
    ]
    assert len(lines) == 6
    assert all('"batch_sizes":[1,5]' in line and "--backend tensorrt" in line for line in lines)


def test_with_sparse_kernels_a_preview_times_the_layers_that_are_weighed(run):
    changes = {
        "deploy": {"backends": ["onnxruntime", "tensorrt_sparse"], "precisions": ["fp32", "fp16"]},
        "sparsity": {"sensitivity": True},
    }
    config = merged(yaml.safe_load((run / "config.yaml").read_text()), changes)
    (run / "changed.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(run, "--configfile", "changed.yaml", "--cores", 2, "-n", "-p")
    lines = (done.stdout + done.stderr).splitlines()
    preview = f"{RUN}/preview/benchmark"
    (weighed,) = [line for line in lines if " measure_sensitivity --config " in line]
    speeds = [f"{preview}/{m}/tensorrt_sparse-fp16.json" for m in ("dense", "pruned")]
    assert f"--speeds {' '.join(speeds)}" in weighed
    builds = [line for line in lines if " build --config " in line and "/preview/" not in line]
    assert not [line for line in builds if "--backend onnxruntime" in line and "--like" in line]
    (sparse,) = [
        line
        for line in lines
        if " build --config " in line and f"--out {RUN}/deploy/sparse/tensorrt_sparse-fp16" in line
    ]
    assert f"--like {RUN}/preview/deploy/pruned/tensorrt_sparse-fp16" in sparse


def test_demo_configuration_plans_the_digits(tmp_path):
    (tmp_path / "config").mkdir()
    shutil.copy(ROOT / "config" / "config.yaml", tmp_path / "config")
    done = snakemake(tmp_path, "--cores", 1, "-n")
    assert "make_digits" in named_rules(done.stdout + done.stderr)


@pytest.mark.skipif(bool(hardware.gpus()), reason="this machine has a GPU")
def test_missing_gpu_stops_before_anything_runs(run):
    """Not after hours of training; a dry run still works."""
    changes = {"run": "gpu", "deploy": {"backends": ["onnxruntime", "tensorrt"]}}
    config = merged(yaml.safe_load((run / "config.yaml").read_text()), changes)
    (run / "gpu.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(run, "--configfile", "gpu.yaml", "--cores", 2, check=False)
    assert done.returncode != 0
    assert "deploy.backends lists tensorrt, which runs on NVIDIA GPUs only" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (run / "results" / "gpu" / "dataset").exists()
    snakemake(run, "--configfile", "gpu.yaml", "--cores", 2, "-n")


def test_a_run_may_begin_at_a_finished_network(run):
    """It trains no dense one, and what it makes of it is what the run made that trained it."""
    changes = {"run": "given", "dense": {"weights": f"{RUN}/dense/model.pdparams"}}
    sparse = "results/given/sparse/model.pdparams"
    config = merged(yaml.safe_load((run / "config.yaml").read_text()), changes)
    (run / "given.yaml").write_text(yaml.safe_dump(config))
    planned_rules = planned(run, changes)
    assert "import_dense" in planned_rules and "train_dense" not in planned_rules
    models = "results/given/models.json"
    snakemake(run, "--configfile", "given.yaml", "--cores", 2, sparse, models)
    assert (run / sparse).read_bytes() == (run / RUN / "sparse" / "model.pdparams").read_bytes()
    dense = json.loads((run / models).read_text())[0]
    assert (dense["made"], dense["file"]) == ("given", "model.pdparams")


def test_the_page_says_how_to_use_a_model(run):
    page = (run / RUN / "report.html").read_text()
    assert f"twofour predict {RUN}/deploy/sparse IMAGE" in page
    assert "onnxruntime.InferenceSession(folder" in page


def test_distillation_concerns_the_sparse_training_alone(run):
    """And what follows from it: a dense network that exists stays as it is."""
    found = planned(run, {"train": {"distill": 0.5}})
    assert {"train_sparse", "list_models", "compare"} <= found
    assert not {"train_dense", "prune", "permute"} & found


# --- release ---


def triton_schema():
    """Triton's published schema, model_config.proto, as protobuf's compiler made it."""
    spec = importlib.util.find_spec("tritonclient")
    path = Path(next(iter(spec.submodule_search_locations)), "grpc", "model_config_pb2.py")
    found = importlib.util.spec_from_file_location("model_config_pb2", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_a_release_is_complete(run, tmp_path):
    """Copied elsewhere: its checksums hold, its builds predict, its card states the figures."""
    released = run / RUN / "release"
    assert sorted(p.name for p in released.iterdir()) == ["dense", "sparse"]
    shutil.copytree(released / "sparse", tmp_path / "model")
    folder = tmp_path / "model"
    listed = (folder / "SHA256SUMS").read_text().splitlines()
    sums = dict(reversed(line.split("  ", 1)) for line in listed)
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(sums) == present - {"SHA256SUMS"}
    assert all(files.sha256(folder / name) == digest for name, digest in sums.items())
    picture = sorted((run / "my images" / "val").glob("*/*.jpg"))[0]
    for backend in ("paddle", "onnxruntime", "openvino"):
        program("predict.py", folder, picture, "--backend", backend)
    program("check.py", folder / "model.onnx", "--sparsity", folder / "sparsity.json")
    card = (folder / "README.md").read_text()
    table = pd.read_csv(run / RUN / "comparison.csv").set_index(["model", "backend"])
    top1 = table.loc[("sparse", "onnxruntime"), "top1"].iloc[0]
    assert f"| onnxruntime | fp32 | {top1:.2f} |" in card
    assert (
        "License: not stated" in card
        and "None" not in re.sub("```.*?```", "", card, flags=re.S)
        and "my images" not in card
    )
    assert not any(str(run) in p.read_text() for p in folder.glob("*/build.json"))


def test_triton_can_parse_its_configuration_and_the_tensors_are_those_of_the_files(run):
    schema = triton_schema()
    repository = run / RUN / "release" / "sparse" / "triton"
    names = sorted(p.name for p in repository.iterdir())
    assert names == ["tiny-sparse", "tiny-sparse-images"]
    for name in names:
        text = (repository / name / "config.pbtxt").read_text()
        config = text_format.Parse(text, schema.ModelConfig())
        assert (config.name, config.backend) == (name, "onnxruntime")
        assert config.max_batch_size == 256 and list(
            config.dynamic_batching.preferred_batch_size
        ) == [5]
        model = onnx.load(repository / name / "1" / "model.onnx")
        for tensors, values in (
            (config.input, model.graph.input),
            (config.output, model.graph.output),
        ):
            kinds = {v.name: v.type.tensor_type for v in values}
            assert [t.name for t in tensors] == list(kinds)
            for tensor in tensors:
                kind, shape = kinds[tensor.name], kinds[tensor.name].shape.dim[1:]
                wanted = schema.DataType.Name(tensor.data_type).removeprefix("TYPE_")
                stored = onnx.TensorProto.DataType.Name(kind.elem_type)
                assert {"FP32": "FLOAT"}.get(wanted, wanted) == stored
                assert len(tensor.dims) == len(shape)
                assert all(d.dim_value in (0, t) for d, t in zip(shape, tensor.dims))
        (labelled,) = [t for t in config.output if t.label_filename]
        labels = (repository / name / labelled.label_filename).read_text().splitlines()
        assert [len(labels)] == list(labelled.dims)


@pytest.mark.parametrize("model", ["dense", "sparse"])
def test_a_verified_release_finds_any_byte_that_changed(run, tmp_path, model):
    folder = tmp_path / "model"
    shutil.copytree(run / RUN / "release" / model, folder)
    done = program("verify.py", folder)
    assert "files are as released" in done.stdout
    assert ("model.onnx: " in done.stdout) == (model == "sparse")
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        at = len(content) // 2
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        _, wrong = certificate_of(folder)
        assert any(path.relative_to(folder).as_posix() in w or "SHA256" in path.name for w in wrong)
        path.write_bytes(content)
    (folder / "classes.txt").unlink()
    (folder / "more.txt").touch()
    failed = program("verify.py", folder, check=False)
    assert failed.returncode == 1 and "classes.txt is missing" in failed.stderr
    assert failed.stderr.splitlines()[-1].endswith("more.txt does not belong to the release")


def certificate_of(folder):
    try:
        return certificate.verify(folder)
    except TwoFourError as error:
        return None, [str(error)]


def test_a_certificate_does_not_hide_a_model_that_is_not_sparse(run, tmp_path):
    """One whose hashes were made anew after a weight was changed."""
    folder = tmp_path / "model"
    shutil.copytree(run / RUN / "release" / "sparse", folder)
    known = onnx.load(folder / "model.onnx")
    (tensor,) = [t for t in known.graph.initializer if t.name == "layer2.0.conv2.weight"]
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[0, :4, 0, 0] = 1
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for path in (folder / "model.onnx", folder / "triton/tiny-sparse/1/model.onnx"):
        onnx.save(known, path)
    digest = files.sha256(folder / "model.onnx")
    stated = json.loads((folder / "certificate.json").read_text())
    old = stated["files"]["model.onnx"]
    (folder / "certificate.json").write_text(json.dumps(stated).replace(old, digest))
    sums = (folder / "SHA256SUMS").read_text().replace(old, digest).splitlines()
    sums = [line for line in sums if not line.endswith("certificate.json")]
    sums.append(f"{files.sha256(folder / 'certificate.json')}  certificate.json")
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    failed = program("verify.py", folder, check=False)
    assert failed.returncode == 1
    assert "model.onnx does not have the 2:4 layers that the certificate states" in failed.stderr


def test_a_release_keeps_nothing_of_an_earlier_one(run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run, folder, symlinks=True)
    released = folder / RUN / "release" / "sparse"
    (released / "tensorrt-fp16").mkdir()
    (released / "tensorrt-fp16" / "old.engine").touch()
    config = merged(
        yaml.safe_load((folder / "config.yaml").read_text()), {"release": {"preprocessing": False}}
    )
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    sums = f"{RUN}/release/sparse/SHA256SUMS"
    snakemake(folder, "--configfile", "config.yaml", "--cores", 2, sums)
    present = {p.relative_to(released).as_posix() for p in released.rglob("*")}
    assert not {p for p in present if "uint8" in p or "images" in p or "tensorrt" in p}
    assert "triton/tiny-sparse/config.pbtxt" in present


def test_triton_gets_the_engine_that_takes_most_batches(tmp_path):
    """With stand-ins for engines: none can be built here."""
    about = {"input": {"shape": ["N", 3, 8, 8]}, "classes": ["a", 'b "c"']}
    served = triton.network('run-"x', about, "tensorrt", 64, [8, 128])
    config = text_format.Parse(served.config(), triton_schema().ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ('run-"x', "tensorrt", 64)
    assert list(config.input[0].dims) == [3, 8, 8] and list(config.output[0].dims) == [2]
    assert list(config.dynamic_batching.preferred_batch_size) == [8]


def test_a_changed_licence_makes_new_cards_and_nothing_else(run):
    assert planned(run, {"release": {"license": "mit"}}) == {
        "release",
        "record_provenance",
        "report",
    }


# --- the page, opened in a browser ---

SORTS = """
const table = document.getElementById("Speed");
const heads = [...table.querySelectorAll("th")];
const column = heads.findIndex(head => head.textContent === "img/s");
const shown = () => [...table.tBodies[0].rows].map(row => row.cells[column].textContent);
const hidden = () => [...table.querySelectorAll("tr.pruned")].map(row => row.offsetHeight === 0);
const found = {before: hidden(), models: heads[0].textContent};
heads[column].firstChild.click();
found.up = shown();
heads[column].firstChild.click();
found.down = shown();
found.sorted = heads[column].getAttribute("aria-sort");
document.querySelector("input[data-fold=Speed]").click();
found.after = hidden();
return found;
"""
FITS = """
const wide = [...document.querySelectorAll("body *")].filter(e => !e.closest(".wide, pre, svg")
  && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80));
return {page: document.documentElement.scrollWidth, window: innerWidth, wide,
        requests: performance.getEntriesByType("resource").map(e => e.name)};
"""
ACCESSIBLE = """
const found = await axe.run(document, {resultTypes: ["violations"]});
return found.violations.map(v => [v.id, v.nodes.slice(0, 3).map(n => n.html.slice(0, 120))]);
"""


def test_tables_of_the_page_sort_and_fold(run, tmp_path):
    found = browser.found_in(run / RUN / "report.html", SORTS, tmp_path)
    rates = [float(text) for text in found["up"]]
    assert rates == sorted(rates) and len(set(rates)) > 3
    assert [float(text) for text in found["down"]] == sorted(rates, reverse=True)
    assert found["sorted"] == "descending"
    assert all(found["before"]) and found["before"] and not any(found["after"])


@pytest.mark.parametrize("width", [500, 1100])
def test_the_page_fits_and_asks_the_network_for_nothing(run, tmp_path, width):
    """Chromium's narrowest window has 500 pixels; tables and code scroll within themselves."""
    opened = "for (const e of document.querySelectorAll('details')) e.open = true;"
    found = browser.found_in(run / RUN / "report.html", opened + FITS, tmp_path, width)
    assert found["page"] <= found["window"] and found["wide"] == []
    assert found["requests"] == []


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_accessible(run, tmp_path, dark):
    page = run / RUN / "report.html"
    assert browser.found_in(page, ACCESSIBLE, tmp_path, 500, dark) == []


# --- several seeds ---


def test_a_further_seed_trains_its_own_models_and_leaves_the_first_as_they_are(run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run, folder, symlinks=True)
    config = merged(yaml.safe_load((folder / "config.yaml").read_text()), {"seed": [1, 5]})
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    before = {n: (folder / RUN / n / "model.pdparams").read_bytes() for n in ("dense", "sparse")}
    assert "benchmark" not in planned(folder)
    snakemake(folder, "--configfile", "config.yaml", "--cores", 2)
    after = {n: (folder / RUN / n / "model.pdparams").read_bytes() for n in ("dense", "sparse")}
    assert before == after
    other = folder / RUN / "seed5" / "dense" / "model.pdparams"
    alone = tmp_path / "alone"
    program(
        "train.py",
        *("--config", json.dumps(merged(TINY, {"seed": 5})), "--data", folder / RUN / "dataset"),
        *("--out", alone),
        cwd=folder,
    )
    assert other.read_bytes() == (alone / "model.pdparams").read_bytes()
    table = pd.read_csv(folder / RUN / "comparison.csv")
    assert set(table["model"]) == {f"{h}{m}" for h in ("", "seed5/") for m in MODELS}
    assert set(table[table["model"].str.startswith("seed5/")]["drop_against"]) == {"seed5/dense"}
    assert table[table["model"].str.startswith("seed5/")]["throughput_img_s"].isna().all()
    text = (folder / RUN / "comparison.md").read_text()
    assert "2 seeds and 40 validation images" in text and "± of seeds" in text
    per_seed = table[(table["model"].str.endswith("sparse")) & (table["backend"] == "paddle")]
    assert f"{per_seed.drop_duplicates('model')['top1'].mean():.2f} %" in text
    assert sorted(p.name for p in (folder / RUN / "release").iterdir()) == ["dense", "sparse"]


MODELS = ("dense", "pruned", "sparse")


# --- int8 ---


@pytest.fixture(scope="module")
def rounded(run, tmp_path_factory):
    """The finished run, gone on with int8 in one backend: its folder, and the rules that ran."""
    if not hardware.integer_instructions():
        pytest.skip("this processor has neither VNNI nor AMX")
    folder = tmp_path_factory.mktemp("rounded") / "work"
    shutil.copytree(run, folder, symlinks=True)
    config = merged(
        yaml.safe_load((run / "config.yaml").read_text()),
        {"deploy": {"backends": ["onnxruntime"], "precisions": ["fp32", "int8"]}},
        # A network after ten steps is steep: what is rounded elsewhere shows.
        {"quantization": {"images": 12}, "evaluation": {"tolerance": {"int8": 0.3}}},
    )
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(folder, "--configfile", "config.yaml", "--cores", 2)
    return folder, named_rules(done.stdout + done.stderr)


def test_int8_adds_its_own_jobs_and_trains_nothing(rounded):
    folder, rules = rounded
    assert rules == {
        *("calibrate", "quantize", "check_int8", "build", "reference_int8"),
        *("evaluate", "benchmark", "compare", "plot", *REPORTED),
    }
    for model in MODELS:  # and evaluates nothing again
        log = (folder / RUN / f"logs/evaluate.{model}.log").read_text()
        assert "onnxruntime fp32 (known)" in log and "onnxruntime int8:" in log
    assert planned(folder) == set()
    table = pd.read_csv(folder / RUN / "comparison.csv")
    assert table["precision"].tolist() == ["fp32"] * 6 + ["int8"] * 6
    quantised = table[table["precision"] == "int8"]
    assert quantised[["int8_drop", "both_drop", "both_drop_p", "same_as_fp32"]].notna().all(None)
    assert quantised["fp32_speedup"].notna().all()
    assert table[table["precision"] == "fp32"]["int8_drop"].isna().all()
    assert (quantised["size_mb"] < table["size_mb"].max() / 2).all()
    calibration = json.loads((folder / RUN / "deploy/sparse/calibration.json").read_text())
    assert calibration["images"] == 12
    record = json.loads((folder / RUN / "evaluation/sparse/onnxruntime-int8.json").read_text())
    assert record["images"] == 40 and 0 < record["agreement"]["largest_difference"] < 0.3
    assert "In int8 (onnxruntime)" in (folder / RUN / "comparison.md").read_text()


DEPLOYED_INT8 = {"check_int8", "build", "reference_int8", *MEASURED}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"images": 13}, {"calibrate", "quantize", *DEPLOYED_INT8}),
        ({"exclude": ["stem.*"]}, {"quantize", *DEPLOYED_INT8}),
    ],
)
def test_what_decides_int8_reruns_nothing_in_fp32(rounded, changes, expected):
    folder, _ = rounded
    assert planned(folder, {"quantization": changes}) == expected
    done = snakemake(folder, "--configfile", "changed.yaml", "--cores", 2, "-n")
    assert not re.search(r"(benchmark|build) .*fp32", done.stdout + done.stderr)


def test_2_4_holds_in_all_int8_files_and_a_release_proves_it(rounded):
    folder, _ = rounded
    release = folder / RUN / "release" / "sparse"
    proven = json.loads((release / "certificate.json").read_text())
    hops = {hop["file"]: hop for hop in proven["sparsity"]}
    assert {"model.onnx", "model.int8.onnx", "onnxruntime-int8/model.onnx"} <= set(hops)
    assert {(hop["sparse_layers"], hop["broken_groups"]) for hop in hops.values()} == {(16, 0)}
    assert proven["kernels"]["onnxruntime-int8"] == {"quantised_convolutions": 17}
    assert certificate.verify(release)[1] == []
    image = next((folder / "my images" / "val").rglob("*.jpg"))
    done = program("predict.py", release, image, "--precision", "int8")
    assert "bright" in done.stdout or "dark" in done.stdout
    path = release / "onnxruntime-int8" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert certificate.verify(release)[1] == [
        "onnxruntime-int8/model.onnx is not the file that was released"
    ]


def test_twins_that_learn_to_be_rounded_are_two_trainings_more_and_exist_in_int8_alone(rounded):
    folder, _ = rounded
    found = planned(folder, {"quantization": {"method": "qat"}})
    assert {"train_qat_dense", "train_qat_sparse", "benchmark_int8", "list_models"} <= found
    assert not {"train_dense", "train_sparse", "prune", "reference"} & found
    done = snakemake(folder, "--configfile", "changed.yaml", "--cores", 2, "-n")
    said = done.stdout + done.stderr
    assert "evaluate_int8 sparse_qat" in said
    assert "sparse_qat onnxruntime fp32" not in said
