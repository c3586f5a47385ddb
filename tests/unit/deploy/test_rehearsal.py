"""What is for GPUs alone runs from beginning to end, on stand-ins (tests/rehearsal)."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

TESTS = ROOT / "tests"
VERSIONS = ["8.5.3.1", "11.4.0.106"]


def rehearse(version, *command):
    folder = TESTS / "rehearsal"
    variables = {
        **os.environ,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}:{TESTS}",
        "REHEARSED_TENSORRT": version,
    }
    command = [sys.executable, *map(str, command)]
    done = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_gpu_tests():
    chosen = "not agrees or (tensorrt_sparse and (fp16 or bf16))"
    tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu/test_gpu_tensorrt.py")
    said = rehearse(VERSIONS[-1], *tests, "-k", chosen)
    assert " passed" in said and "failed" not in said


@pytest.mark.parametrize("version", VERSIONS)
def test_the_benchmark_of_dense_and_sparse_engines(tmp_path, version):
    small = ("--size", 32, "--width", 0.125, "--seconds", 0, "--batch-size", 1, 3)
    precisions = ("--precision", "fp16", "int8")
    out = tmp_path / "engines.json"
    program = ROOT / "benchmarks" / "engines.py"
    rehearse(version, program, *small, *precisions, "--work", tmp_path / "work", "--out", out)
    measured = json.loads(out.read_text())
    assert measured["version"] == version and measured["device"] == "Rehearsed GPU"
    found = {
        (r["model"], r["backend"], r["precision"], r["batch_size"]): r for r in measured["rows"]
    }
    assert len(found) == 2 * 2 * 2 * 2
    for (model, backend, _, _), row in found.items():
        if backend == "tensorrt_sparse":
            assert (row["layers_eligible"] > 40) == (model == "sparse")
