"""make run and make test on a machine that lacks something: one sentence each."""

import importlib.util
import re
import subprocess

import pytest
import yaml
from conftest import ROOT

KINDS = ("cpu", "gpu", "deploy-gpu", "deploy-gpu-cu13", "train-gpu", "cpu-paddle3")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            "echo 3.9",
            "is Python 3.9, but PaddlePaddle 2.6 and Snakemake 9 both exist for 3.11 and 3.12",
        ),
        ('case "$2" in *ensurepip*) exit 1;; *) echo 3.11;; esac', "lacks the venv module"),
        ("exit 1", "does not start"),
    ],
)
def test_unsuitable_python(tmp_path, answer, message):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{answer}\n")
    python.chmod(0o755)
    done = setup(python, tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "venv").exists()


def test_no_python(tmp_path):
    assert "there is no " in setup(tmp_path / "none", tmp_path).stderr


def test_gpu_environment_wants_another_python(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 3.11\n")
    python.chmod(0o755)
    done = setup(python, tmp_path, "gpu")
    assert "TensorRT 8.5.3 exists for Python 3.10" in done.stderr
    assert "make GPU_PYTHON=python3.10" in done.stderr


def test_unknown_environment_is_a_sentence():
    done = subprocess.run(
        ["make", "run", "ENV=tpu"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (
        done.returncode != 0
        and "ENV is tpu, but must be cpu, gpu, deploy-gpu, deploy-gpu-cu13" in done.stderr
    )


def test_libraries_get_the_names_that_paddle_opens(tmp_path):
    """In an environment that looks like the real one."""
    environment = tmp_path / "environment"
    packages = environment / "lib" / "python3.10" / "site-packages"
    for name in ("nvidia/cudnn/lib/libcudnn.so.8", "tensorrt/libnvinfer.so.8"):
        (packages / name).parent.mkdir(parents=True)
        (packages / name).write_text(name)
    python = environment / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\necho {packages}\n")
    python.chmod(0o755)
    script = ROOT / "envs" / "gpu" / "environment.post-deploy.sh"
    subprocess.run(["sh", script, environment], check=True)
    libraries = environment / "lib" / "cuda"
    assert sorted(path.name for path in libraries.iterdir()) == [
        *("libcudnn.so", "libcudnn.so.8", "libnvinfer.so", "libnvinfer.so.8")
    ]
    moved = environment.rename(tmp_path / "moved") / "lib" / "cuda"
    assert (moved / "libcudnn.so").read_text() == "nvidia/cudnn/lib/libcudnn.so.8"
    empty = tmp_path / "empty"
    (empty / "bin").mkdir(parents=True)
    (empty / "bin" / "python").symlink_to(python)
    assert subprocess.run(["sh", script, empty], capture_output=True).returncode == 1


@pytest.mark.parametrize(("kind", "python"), [("cpu", "3.11"), ("gpu", "3.10")])
def test_conda_files_hold_the_lock(kind, python):
    spec = importlib.util.spec_from_file_location("conda", ROOT / "envs" / "conda.py")
    conda = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conda)
    folder = ROOT / "envs" / kind
    lock = (folder / "requirements.txt").read_text()
    written = (folder / "environment.yaml").read_text()
    assert written == conda.text(lock, python)
    *_, pip = yaml.safe_load(written)["dependencies"]
    # Conda writes the list to a file for pip, in which --no-deps may not be (pip issue 7339).
    option, *packages = pip["pip"]
    assert option == "--require-hashes"
    assert len(packages) == sum(line[:1].isalnum() for line in lock.splitlines())
    assert all("--hash=sha256:" in line for line in packages)


@pytest.mark.parametrize("kind", KINDS)
def test_locks_have_hashes_and_no_addresses(kind):
    lock = (ROOT / "envs" / kind / "requirements.txt").read_text()
    packages = lock.replace("\\\n", " ").splitlines()
    assert all("--hash=sha256:" in line for line in packages if line[:1].isalnum())
    assert "://" not in lock
    names = {line.partition("==")[0] for line in packages}
    for several in ({"onnxruntime", "onnxruntime-gpu"}, {"tensorrt-cu12", "tensorrt-cu13"}):
        assert len(names & several) <= 1  # they have the same contents
    assert sum(name.startswith("nvidia-dali-cuda") for name in names) == 1


def test_environments_for_deploying_train_with_the_same_packages():
    locks = {
        kind: dict(
            line.split()[0].split("==")
            for line in (ROOT / "envs" / kind / "requirements.txt").read_text().splitlines()
            if line[:1].isalnum()
        )
        for kind in KINDS
    }
    others = {"onnxruntime", "nvidia-dali-cuda110"}
    for kind in ("deploy-gpu", "deploy-gpu-cu13", "train-gpu", "cpu-paddle3"):
        paddle = {"paddlepaddle", "astor", "decorator"}  # and what 2.6 alone needs
        expected = {"deploy": others, "train": others | paddle, "cpu": paddle}
        other = locks["cpu"].items() - locks[kind].items()
        assert {name for name, _ in other} == expected[kind.partition("-")[0]]
    assert locks["cpu-paddle3"]["paddlepaddle"].startswith("3.")


def test_paddle_for_later_gpus_is_asked_of_its_vendor_by_version(tmp_path):
    """With an interpreter that only notes what it is asked for."""
    python = tmp_path / "python"
    noted = f'echo "$@" >>"{tmp_path}/noted"'
    pip = f'mkdir -p "$3/bin"; printf \'#!/bin/sh\\n{noted}\\n\' >"$3/bin/pip"'
    made = f'case "$2" in venv) {pip}; chmod +x "$3/bin/pip";; *) echo 3.11;; esac'
    python.write_text(f"#!/bin/sh\n{made}\n")
    python.chmod(0o755)
    setup(python, tmp_path, "train-gpu")
    asked = (tmp_path / "noted").read_text().splitlines()
    assert "--require-hashes --no-deps -r envs/train-gpu/requirements.txt" in asked[0]
    assert asked[1].endswith("/cu129/ paddlepaddle-gpu==3.3.1")


def setup(python, folder, kind="cpu"):
    command = ["sh", ROOT / "envs" / "setup.sh", python, folder / "venv", kind]
    return subprocess.run(command, capture_output=True, text=True)


def test_make_test_runs_every_folder_of_tests():
    recipe = (ROOT / "Makefile").read_text().split("\ntest: ")[1].split("\n\n")[0]
    tests = ROOT / "tests"
    folders = {path.relative_to(tests).parts[0] for path in tests.rglob("test_*.py")}
    assert set(re.findall(r"tests/(\w+)", recipe)) == folders
