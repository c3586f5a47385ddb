"""What pages state about defaults and lists is true."""

import json
import re

from twofour import artifacts, command, config, models, stages
from twofour.deploy import backends, export, snippet
from twofour.network import architecture
from twofour.sparse.masks import ALGORITHMS

import pytest
import yaml
from conftest import ROOT, SCRIPTS

DOCS = sorted((ROOT / "docs").glob("*.md"))
FILES = (  # no keys
    *(".json", ".txt", ".py", ".onnx"),
    *(".pdmodel", ".pdiparams", ".pdparams", ".safetensors"),
)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "config" / "README.md", *DOCS]
RULES = set(
    re.findall(
        r"^ *(?:rule|checkpoint|use rule \w+ as) (\w+)\b",
        "\n".join(path.read_text() for path in (ROOT / "workflow").rglob("*.smk")),
        re.M,
    )
)


def keys() -> dict[str, object]:
    """{"train.epochs": default, …}"""
    found = {}
    for section, node in config.schema()["properties"].items():
        for name, child in node.get("properties", {"": node}).items():
            found[f"{section}.{name}".rstrip(".")] = child["default"]
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_keys_that_a_page_names_exist(path):
    sections = set(config.schema()["properties"])
    known = {*keys(), *(f"evaluation.tolerance.{p}" for p in backends.PRECISIONS)}
    for name in re.findall(r"`([a-z]+\.[a-z_]+(?:\.[a-z0-9]+)?)`", path.read_text()):
        if name.partition(".")[0] in sections and not name.endswith(FILES):
            assert name in known, name


def test_recipe_states_the_defaults():
    """The recipe's table has a number for each of these, in words of its own."""
    text = (ROOT / "docs" / "recipe.md").read_text()
    stated = {
        "train.momentum": "momentum 0.875",
        "train.learning_rate": "0.256 per 256 images",
        "train.warmup_epochs": "linear from 0 in 5 epochs",
        "train.weight_decay": "1/32768",
        "train.label_smoothing": "0.1",
        "data.crop_area": "8–100 %",
        "train.loss_scale": "loss scale 128",
        "data.resize": "shorter side to 256",
        "data.image_size": "centre crop of 224",
    }
    defaults = keys()
    for key, words in stated.items():
        (line,) = [line for line in text.splitlines() if words in line and f"`{key}`" in line]
        numbers = [eval(n) for n in re.findall(r"\d+(?:\.\d+)?(?:/\d+)?", words.replace("–", " "))]
        value = defaults[key]
        wanted = [100 * v for v in value] if key == "data.crop_area" else [value]
        assert any(number in wanted for number in numbers), line


def test_sparsity_page_has_every_algorithm():
    text = (ROOT / "docs" / "sparsity.md").read_text()
    assert set(re.findall(r"^\| `(mask_\w+|wanda)` \|", text, re.M)) == set(ALGORITHMS)


def test_rules_and_programs_share_their_names():
    programs = {path.stem for path in SCRIPTS.glob("*.py")}
    trainings = {"train_dense", "train_sparse", "train_control", "train_rival"}
    trainings |= {"train_qat_dense", "train_qat_sparse"}
    same = {**dict.fromkeys(trainings, "train"), "check_int8": "check"}
    same |= {f"{name}_int8": name for name in ("evaluate", "benchmark")}
    same["preview_rival"] = "preview_weights"
    for name in ("export", "calibrate", "quantize", "build", "benchmark"):
        same[f"preview_{name}"] = name
    assert {same.get(rule, rule) for rule in RULES - {"preview"}} == programs - {
        *("check_config", "doctor"),
        *(command.PROGRAM_OF.get(name, name) for name in set(command.COMMANDS) - {"check"}),
    }
    assert programs == set(stages.STAGES) - {"build_for_batches", "train_sparse", "train_qat"}


def test_rules_that_the_slurm_page_and_profile_name_exist():
    profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    assert set(profile["set-resources"]) <= RULES
    text = (ROOT / "docs" / "slurm.md").read_text()
    table = text[text.index("| job | cores") :].split("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", "\n".join(r.split("|")[1] for r in table.splitlines()[2:])))
    assert named <= RULES and {"train_dense", "benchmark"} <= named


def test_results_page_names_the_artifacts():
    text = (ROOT / "docs" / "results.md").read_text()
    for name in (artifacts.COMPARISON, artifacts.REPORT, artifacts.MODELS, artifacts.PROVENANCE):
        assert f"`{name}`" in text


def test_readme_commands_exist():
    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert named and named <= targets
    assert set(re.findall(r"^twofour (\w+)", text, re.M)) <= set(command.COMMANDS)


def test_every_page_is_in_the_site_and_listed_in_its_index():
    site = (ROOT / "mkdocs.yml").read_text()
    assert all(path.name in site for path in DOCS)
    assert json.dumps(site).count(".md") == len(DOCS)


def test_links_of_pages_outside_the_site_lead_somewhere():
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"):
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
            assert link.startswith("https://") or (path.parent / link).exists(), link


def test_version_has_one_value():
    (version,) = re.findall(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version
    newest = re.search(r"^## (\S+) – (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest and newest.groups() == (version, str(citation["date-released"]))


def test_results_page_has_the_demos_whole_table():
    demo = config.load(str(ROOT / "config" / "config.yaml"))
    known = [model.name for model in models.of_run(demo)]
    pattern = rf"^\| ({'|'.join(known)}) \|"
    rows = re.findall(pattern, (ROOT / "docs" / "results.md").read_text(), re.M)
    # As on a processor that computes in int8, whatever this one does.
    assert demo.deploy.precisions == "auto"
    cases = backends.cases(demo.deploy.backends, ["fp32", "int8"])
    assert len(rows) == len(known) * len(cases) * (1 + len(demo.benchmark.batch_sizes))


def test_readme_shows_the_lines_that_use_the_demos_model():
    demo = config.load(str(ROOT / "config" / "config.yaml"))
    network = architecture.resnet(demo.model, 10)
    about = export.description(network, demo.data, [str(digit) for digit in range(10)])
    lines = snippet.text(about, "results/demo/deploy/sparse")
    assert f"```python\n{lines}```" in (ROOT / "README.md").read_text()


def test_training_page_names_every_key_that_is_off_by_default():
    text = (ROOT / "docs" / "training.md").read_text()
    recipe = (ROOT / "docs" / "recipe.md").read_text()
    machine = {"layout", "accumulation", "batch_size", "checkpoint_minutes"}
    machine |= {"dynamic_loss_scaling"}
    for name in config.schema()["properties"]["train"]["properties"]:
        assert name in machine or f"`train.{name}" in text + recipe, name


def test_networks_of_the_configuration_are_those_that_exist():
    enum = config.schema()["properties"]["model"]["properties"]["name"]["enum"]
    assert enum == list(architecture.RESNETS)
