"""The doctor's verdicts, tried with the facts of machines that are not here."""

import struct
from dataclasses import replace

from twofour import config, fatbin, hardware, preflight

import pytest
from conftest import program

A100 = {
    "name": "NVIDIA A100-SXM4-80GB",
    "compute_cap": "8.0",
    "driver_version": "535.104.05",
    "memory.total": "81920 MiB",
}
H100 = {**A100, "name": "NVIDIA H100 80GB HBM3", "compute_cap": "9.0"}
PACKAGED = {(6, 1), (7, 0), (7, 5), (8, 0), (8, 6)}  # what the packaged PaddlePaddle has code for
PACKAGES = {
    **dict.fromkeys(("numpy", "pandas", "pillow", "onnx", "onnxruntime"), "1.0"),
    "nvidia-dali-cuda110": "1.34.0",
    "protobuf": "5.29.6",
}
GPU = preflight.Facts(
    packages={**PACKAGES, "paddlepaddle-gpu": "2.6.2"},
    gpus=[A100],
    paddle_cuda="11.8",
    paddle_code=PACKAGED,
    paddle_tensorrt=(8, 5, 3),
    driver_cuda=12020,
    libraries=dict.fromkeys((*preflight.CUDA_LIBRARIES, preflight.NCCL), True),
    cudnn=8906,
    tensorrt="8.5.3.1",
)
CPU = preflight.Facts(packages={**PACKAGES, "paddlepaddle": "2.6.2"}, cpu="Some CPU")
TENSORRT = ["tensorrt", "tensorrt_sparse", "paddle_trt"]


def judged(facts, backends=("paddle",), precision="auto", **wanted):
    settings = config.validated(
        {
            "hardware": wanted,
            "train": {"precision": precision},
            "deploy": {"backends": list(backends), "precisions": ["fp32"]},
        }
    )
    findings = preflight.judge(facts, settings)
    assert all(f.remedy for f in findings if f.status == preflight.PROBLEM)
    return findings


def problems(*arguments, **wanted):
    return {
        f.subject: f.remedy for f in judged(*arguments, **wanted) if f.status == preflight.PROBLEM
    }


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
    assert "tensorrt_sparse do not need it" in found["PaddlePaddle"]
    # With auto the CPU trains, and one is told.
    findings = judged(replace(GPU, gpus=[H100]), TENSORRT[:2])
    assert [f.subject for f in findings if f.status == preflight.NOTE] == ["PaddlePaddle"]
    assert findings[-1].found.startswith("CPU")
    # A build with PTX runs on what comes later.
    assert problems(replace(GPU, gpus=[H100], paddle_ptx={(8, 0)}), device="gpu") == {}


def test_cpu_paddle_with_a_gpu_configuration():
    found = problems(replace(CPU, gpus=[A100]), device="gpu")
    assert "make run ENV=gpu" in found["PaddlePaddle"]
    findings = judged(replace(CPU, gpus=[A100]))
    assert [f.status for f in findings if f.subject == "PaddlePaddle"] == [preflight.NOTE]


def test_tensorrt_missing_broken_or_of_another_version():
    missing = problems(replace(GPU, tensorrt=None), TENSORRT)
    assert "deploy.backends lists tensorrt" in missing["TensorRT"]
    broken = problems(replace(GPU, tensorrt=None, tensorrt_error="libnvinfer.so.8"), TENSORRT)
    assert "libnvinfer.so.8" in broken["TensorRT"]
    other = problems(replace(GPU, tensorrt="10.3.0"), TENSORRT)
    assert "install tensorrt 8.5.3" in other["TensorRT of PaddlePaddle"]
    assert problems(replace(GPU, tensorrt="10.3.0"), TENSORRT[:2]) == {}
    assert (
        "written for TensorRT 8 and 10"
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
        ({"python": (3, 13)}, {}, "Python", "3.9 to 3.12"),
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


def test_little_room_is_a_note():
    small = replace(GPU, disk_free=1 << 20, files=256, shared=64 << 20)
    findings = judged(replace(small, gpus=[A100, A100]), gpus=2)
    notes = {f.subject: f.remedy for f in findings if f.status == preflight.NOTE}
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
    """The PaddlePaddle that is installed here: one for CPUs has no code, the other no PTX."""
    code, ptx = fatbin.architectures(hardware.paddle_library())
    assert (code, ptx) == ((PACKAGED if hardware.paddle_cuda() else set()), set())


def test_doctor_prints_the_table_and_says_what_to_do():
    done = program("doctor.py")
    assert "training" in done.stdout and done.stderr == ""
    done = program(
        *("doctor.py", "--quiet", "--config", '{"train": {"precision": "amp_bf16"}}'), check=False
    )
    if not hardware.gpus():
        assert done.returncode == 1 and done.stdout == ""
        assert "training: it can do fp32" in done.stderr
