"""Which modules decide the outcome of a stage, read from its imports."""

import ast

from twofour import stages
from twofour.system import codehash
from twofour.train import ROOT as TRAINING


def test_every_import_statement_is_found():
    for path in codehash.SCRIPTS.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        parsed = ast.walk(ast.parse(text))
        expected = [ast.dump(n) for n in parsed if isinstance(n, (ast.Import, ast.ImportFrom))]
        found = [ast.dump(node) for node in codehash._import_statements(text)]
        assert sorted(found) == sorted(expected), path


def deciding(stage: str, *modules: str) -> set[str]:
    roots = stages.STAGES[stage].code or (codehash.SCRIPTS / f"{stage}.py",)
    return set(codehash.closure(*roots, *modules))


def test_what_decides_the_bits_of_a_training():
    """The whole list, so that adding or removing a module is a deliberate decision."""
    assert deciding("train") == {
        *("train.process", "train.begin", "train.precision", "train.seen"),
        *("train.loop", "train.plan", "train.state", "train.feeder", "train.updater"),
        *("train.training_graph", "train.amp", "train.recipe", "train.parallel"),
        *("train.validation", "train.metrics", "train.outcome"),
        *("train.balance", "train.best", "train.mixing", "train.qat", "quantization.fake"),
        *("network.architecture", "network.graph", "network.inference", "network.scope"),
        *("network.foreign", "network.foreign.formats", "network.foreign.names"),
        *("network.weights", "data.lists", "data.loader", "data.decoder", "data.batches"),
        *("data.readers", "data.members"),
        *("sparse.asp", "sparse.pattern", "sparse.masks", "sparse.layers"),
        *("system.libraries", "system.patterns"),
    }
    assert stages.code("train") == codehash.digest(TRAINING)  # as in a checkpoint's fingerprint


def test_other_stages_follow_their_imports_and_only_those():
    evaluate = deciding("evaluate", "deploy.backends.onnxruntime")
    assert {"evaluate.py", "deploy.evaluate", "deploy.backends.onnxruntime"} <= evaluate
    assert not {"deploy.backends.paddle", "report.compare", "train.loop"} & evaluate
    assert {"data.images", "data.dataset"} <= deciding("prepare_dataset")
    assert {"report.plot", "models"} <= deciding("plot")


def test_every_module_of_the_plumbing_exists():
    known = {
        ".".join(path.relative_to(codehash.PACKAGE).with_suffix("").parts)
        for path in codehash.PACKAGE.rglob("*.py")
    }
    for pattern in (*codehash.PLUMBING, *codehash.DECIDING):
        assert "*" in pattern or pattern in known, pattern
    assert not codehash.decides("system.progress") and codehash.decides("system.libraries")


def test_the_hash_goes_by_content(tmp_path):
    program = tmp_path / "some.py"
    program.write_text("x = 1\n")
    first = codehash.digest(program)
    codehash.digest.cache_clear()
    program.write_text("x = 2\n")
    assert codehash.digest(program) != first
