"""The doctor's verdicts on made-up machines."""

import json
import re
import struct
from dataclasses import replace

from twofour import config, doctor
from twofour.system import fatbin, hardware
from twofour.system.settings import Hardware

import pytest
from conftest import ROOT, TINY, merged, program

A100 = {
    "name": "NVIDIA A100-SXM4-80GB",
    "compute_cap": "8.0",
    "driver_version": "535.104.05",
    "memory.total": "81920 MiB",
}
H100 = {**A100, "name": "NVIDIA H100 80GB HBM3", "compute_cap": "9.0"}
PACKAGED = {(6, 1), (7, 0), (7, 5), (8, 0), (8, 6)}  # what the packaged PaddlePaddle has code for
PACKAGES = {
    **dict.fromkeys(("numpy", "pandas", "pillow", "onnx", "onnxruntime", "openvino"), "1.0"),
    "nvidia-dali-cuda110": "1.34.0",
    "protobuf": "5.29.6",
    "cuda-python": "11.8.7",
}
GPU = doctor.Facts(
    packages={**PACKAGES, "paddlepaddle-gpu": "2.6.2"},
    gpus=[A100],
    paddle_cuda="11.8",
    cuda=11,
    paddle_code=PACKAGED,
    paddle_tensorrt=(8, 5, 3),
    driver_cuda=12020,
    libraries=dict.fromkeys((*doctor.CUDA_LIBRARIES, doctor.NCCL), True),
    cudnn=8906,
    tensorrt="8.5.3.1",
)
CPU = doctor.Facts(packages={**PACKAGES, "paddlepaddle": "2.6.2"}, cpu="Some CPU")
TENSORRT = ["tensorrt", "tensorrt_sparse", "paddle_trt"]


def judged(facts, backends=("paddle",), precision="auto", **wanted):
    settings = config.validated(
        {
            "hardware": wanted,
            "train": {"precision": precision},
            "deploy": {"backends": list(backends), "precisions": ["fp32"]},
        }
    )
    findings = doctor.judge(facts, settings)
    assert all(f.remedy for f in findings if f.status == doctor.PROBLEM)
    return findings


def problems(*arguments, **wanted):
    return {f.subject: f.remedy for f in judged(*arguments, **wanted) if f.status == doctor.PROBLEM}


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [(GPU, {"device": "gpu"}), (GPU, {}), (CPU, {}), (CPU, {"device": "cpu"})],
)
def test_machines_that_fit_have_no_problem(facts, wanted):
    assert problems(facts, **wanted) == {}


def test_full_gpu_configuration_on_a_fitting_machine():
    assert problems(GPU, TENSORRT, "amp_fp16", device="gpu") == {}


def test_hopper_with_the_packaged_paddle():
    found = problems(replace(GPU, gpus=[H100]), device="gpu")
    assert "no code for NVIDIA H100" in found["PaddlePaddle"]
    assert "compute capability 9.0" in found["PaddlePaddle"]
    assert "make run ENV=deploy-gpu deploys on the NVIDIA H100" in found["PaddlePaddle"]
    # With auto, training is on the CPU, and the doctor says so.
    findings = judged(replace(GPU, gpus=[H100]), TENSORRT[:2])
    assert [f.subject for f in findings if f.status == doctor.NOTE] == ["PaddlePaddle"]
    (training,) = (f for f in findings if f.subject == "training")
    assert training.found.startswith("CPU")
    # In the environment for it there is nothing to say.
    deploying = replace(CPU, gpus=[H100], deploys=True)
    assert not [f for f in judged(deploying) if f.status != doctor.OK]
    missing = problems(replace(CPU, gpus=[H100]), ["onnxruntime_cuda"])["packages"]
    assert missing.startswith("install onnxruntime-gpu (make run ENV=deploy-gpu does it")
    # A build with PTX runs on later GPUs.
    assert problems(replace(GPU, gpus=[H100], paddle_ptx={(8, 0)}), device="gpu") == {}


def test_drivers_are_judged_by_the_cuda_of_the_environment():
    deploying = replace(CPU, gpus=[H100], deploys=True, cuda=12, driver_cuda=11080)
    (finding,) = (f for f in judged(deploying) if f.subject == "NVIDIA driver")
    assert finding.remedy == "it is too old for CUDA 12; install driver 525.60 or later"
    later = replace(GPU, gpus=[H100], cuda=12, paddle_cuda="12.9", libraries={}, cudnn=None)
    later = replace(later, paddle_code={(9, 0), (10, 0)}, driver_cuda=12090)
    assert problems(later, device="gpu") == {}
    unread = replace(later, paddle_code=set())  # no reason to refuse
    assert problems(unread, device="gpu") == {}


def test_memory_is_judged_where_networks_will_be_trained():
    small = replace(CPU, memory=30e9)
    found = problems(small)["memory"]
    assert "train.batch_size is 256: the training would need about 93" in found
    assert "the largest batch that fits is" in found
    settings = config.validated({})
    assert not any(f.subject == "memory" for f in doctor.judge(small, settings, trains=False))
    assert "memory" not in problems(CPU)  # not known
    (finding,) = (f for f in judged(GPU, device="gpu") if f.subject == "memory")
    assert finding.found.startswith("85.9 GB free")
    assert (
        "at least" in problems(replace(GPU, gpus=[{**A100, "memory.total": "8192 MiB"}]))["memory"]
    )


def test_cpu_paddle_with_a_gpu_configuration():
    found = problems(replace(CPU, gpus=[A100]), device="gpu")
    assert "make run ENV=gpu" in found["PaddlePaddle"]
    findings = judged(replace(CPU, gpus=[A100]))
    (finding,) = (f for f in findings if f.subject == "environment")
    assert finding.status == doctor.NOTE and "make run ENV=gpu trains and deploys" in finding.remedy


def test_tensorrt_missing_broken_or_of_another_version():
    missing = problems(replace(GPU, tensorrt=None), TENSORRT)
    assert "deploy.backends lists tensorrt" in missing["TensorRT"]
    broken = problems(replace(GPU, tensorrt=None, tensorrt_error="libnvinfer.so.8"), TENSORRT)
    assert "libnvinfer.so.8" in broken["TensorRT"]
    other = problems(replace(GPU, tensorrt="10.3.0"), TENSORRT)
    assert "install tensorrt 8.5.3" in other["TensorRT of PaddlePaddle"]
    assert problems(replace(GPU, tensorrt="10.3.0"), TENSORRT[:2]) == {}
    assert (
        "written for TensorRT 8, 10, 11"
        in problems(replace(GPU, tensorrt="7.2.1"), TENSORRT)["TensorRT"]
    )


@pytest.mark.parametrize(
    ("change", "wanted", "subject", "words"),
    [
        ({"gpus": []}, {"device": "gpu"}, "GPU", "nvidia-smi finds no GPU"),
        ({}, {"device": "gpu", "gpus": 8}, "GPUs", "hardware.gpus is 8; set it to at most 1"),
        ({"driver_cuda": 10020}, {"device": "gpu"}, "NVIDIA driver", "too old for CUDA 11"),
        ({"driver_cuda": None}, {"device": "gpu"}, "NVIDIA driver", "install the driver"),
        (
            {"libraries": {"x": True}},
            {"device": "gpu"},
            "CUDA libraries",
            "environment.post-deploy.sh",
        ),
        ({"cudnn": 7605}, {"device": "gpu"}, "cuDNN", "built with cuDNN 8"),
        ({"python": (3, 13)}, {}, "Python", "3.10 to 3.12"),
        ({"packages": {**PACKAGES, "protobuf": "7.1"}}, {}, "protobuf", "below 7"),
        ({"packages": {"numpy": "1"}}, {}, "packages", "install pandas, pillow"),
        ({"packages": PACKAGES}, {}, "PaddlePaddle", "install it"),
        ({"backends": {"tensorrt": "no cuda-python"}}, {}, "tensorrt", "no cuda-python"),
    ],
)
def test_each_problem_has_a_remedy(change, wanted, subject, words):
    assert words in problems(replace(GPU, **change), **wanted)[subject]


def test_precision_that_the_machine_lacks():
    found = problems(CPU, precision="amp_fp16")
    assert "it can do fp32" in found["training"]


def test_only_the_gpus_that_will_be_used_matter():
    mixed = replace(GPU, gpus=[A100, H100])
    assert problems(mixed, device="gpu") == {}
    assert "NVIDIA H100" in problems(mixed, device="gpu", gpus=2)["PaddlePaddle"]
    assert "NVIDIA H100" in problems(replace(GPU, gpus=[H100, A100]), device="gpu")["PaddlePaddle"]


def test_gpus_that_are_not_there_change_the_training_and_one_is_told():
    (note,) = [f for f in judged(CPU, gpus=8) if f.status == doctor.NOTE]
    assert note.subject == "training"
    assert "256 images" in note.remedy and "goes up to 0.256," in note.remedy


SMI = """#!/bin/sh
case "$1" in
-L) cat <<'END'
GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-aaa)
  MIG 1g.10gb     Device  0: (UUID: MIG-111)
GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-bbb)
  MIG 2g.20gb     Device  0: (UUID: MIG-222)
END
;;
*) cat <<'END'
0, GPU-aaa, NVIDIA A100-SXM4-80GB, 535.1, 8.0, 81920 MiB
1, GPU-bbb, NVIDIA A100-SXM4-80GB, 535.1, 8.0, 81920 MiB
END
;;
esac
"""


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, ["GPU-aaa", "GPU-bbb"]),
        ("1", ["GPU-bbb"]),
        ("1, 0", ["GPU-bbb", "GPU-aaa"]),
        ("GPU-b", ["GPU-bbb"]),
        ("MIG-222", ["GPU-bbb"]),
        ("0,7,1", ["GPU-aaa"]),
        ("", []),
        ("-1", []),
    ],
)
def test_gpus_that_a_batch_system_allows(tmp_path, monkeypatch, visible, found):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(SMI)
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu["uuid"] for gpu in hardware.gpus()] == found
    assert len(hardware.visible_gpus()) == len(found)


def test_threads_are_those_of_what_will_be_used(tmp_path, monkeypatch):
    """GPUs that PaddlePaddle cannot use do not change the number of CPU threads."""
    monkeypatch.setattr(hardware, "gpus", lambda: [A100] * 4)
    monkeypatch.setattr(hardware, "paddle_cuda", lambda: None)
    monkeypatch.setattr(hardware, "cores", lambda: 16)
    machine = hardware.resolve(Hardware(gpus=4), training=True)
    assert (machine.device, machine.threads, machine.processes) == ("cpu", 16, 1)


def test_little_room_is_a_note():
    small = replace(GPU, disk_free=1 << 20, files=256, shared=64 << 20)
    findings = judged(replace(small, gpus=[A100, A100]), gpus=2)
    notes = {f.subject: f.remedy for f in findings if f.status == doctor.NOTE}
    assert set(notes) == {"disk", "open files", "shared memory"}
    assert "--shm-size" in notes["shared memory"]


def elf(entries) -> bytes:
    """An ELF file whose .nv_fatbin has two containers of ``entries`` (kind, architecture)."""
    body = b""
    for part in (entries[:1], entries[1:]):
        inner = b"".join(
            struct.pack("<HHIQ", kind, 0x101, 64, 24)
            + bytes(12)
            + struct.pack("<I", sm)
            + bytes(32)
            + bytes(24)
            for kind, sm in part
        )
        body += struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(inner)) + inner + bytes(8)
    names = b"\0.nv_fatbin\0.shstrtab\0"
    start, texts = 64, 64 + len(body)
    table = texts + len(names)

    def section(name, offset, size):
        return struct.pack("<IIQQQQ", name, 1, 0, 0, offset, size) + bytes(24)

    header = b"\x7fELF\x02" + bytes(0x28 - 5) + struct.pack("<Q", table) + bytes(10)
    header += struct.pack("<HHH", 64, 3, 2)
    sections = section(0, 0, 0) + section(1, start, len(body)) + section(12, texts, len(names))
    return header.ljust(64, b"\0") + body + names + sections


def test_code_for_gpus_is_read_from_the_library_itself(tmp_path):
    path = tmp_path / "library.so"
    path.write_bytes(elf([(2, 70), (2, 86), (1, 75)]))
    code, ptx = fatbin.architectures(path)
    assert (code, ptx) == ({(7, 0), (8, 6)}, {(7, 5)})
    assert fatbin.fits(code, set(), (8, 9)) and not fatbin.fits(code, set(), (8, 0))
    assert not fatbin.fits(code, set(), (9, 0)) and fatbin.fits(code, ptx, (9, 0))
    path.write_bytes(b"no library")
    assert fatbin.architectures(path) == (set(), set())


def test_the_packaged_library():
    """The installed PaddlePaddle: the CPU build has no GPU code, the GPU build no PTX."""
    code, ptx = hardware.paddle_code()
    assert (code, ptx) == ((PACKAGED if hardware.paddle_cuda() else set()), set())


def test_doctor_prints_the_table_and_says_what_to_do():
    config = json.dumps(merged(TINY, {"data": {"source": "digits"}}))
    done = program("doctor.py", "--config", config)
    assert "training" in done.stdout and done.stderr == ""
    about = (
        r"time +about \d+ s for a training of 2 epochs of 1437 images, about \d+ (s|min) for the"
    )
    assert re.search(about, done.stdout), done.stdout
    done = program(
        *("doctor.py", "--quiet", "--config", '{"train": {"precision": "amp_bf16"}}'), check=False
    )
    if not hardware.gpus():
        assert done.returncode == 1 and done.stdout == ""
        assert "training: it can do fp32" in done.stderr


def test_doctor_looks_at_the_environment_of_the_jobs(tmp_path):
    """hardware.environment names another Python; this stand-in prints how it is called."""
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "libraries $LD_LIBRARY_PATH program $1"\n')
    python.chmod(0o755)
    wanted = {"hardware": {"environment": str(tmp_path / "env")}}
    for given in (["--config", json.dumps(wanted)], ["--environment", tmp_path / "env"]):
        done = program("doctor.py", *given)
        assert f"libraries {tmp_path}/env/lib/cuda" in done.stdout and "doctor.py" in done.stdout


def test_weights_to_start_from_are_looked_at_before_anything_runs(tmp_path):
    weights = ROOT / "tests" / "cases" / "weights" / "torch.pth"
    model = {"name": "resnet18", "width": 0.125, "blocks": [1, 1, 1, 1]}
    for given, status in ((model, doctor.OK), ({"name": "resnet18"}, doctor.PROBLEM)):
        settings = {"model": given, "train": {"batch_size": 8, "init": str(weights)}}
        findings = doctor.judge(CPU, config.validated(settings))
        (found,) = (f for f in findings if f.subject == "train.init")
        assert found.status == status
    assert "lacks the weights layer1.1.conv1.weight" in found.remedy
