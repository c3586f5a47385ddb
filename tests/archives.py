"""ImageNet's archives in miniature: same structure, a few images."""

from __future__ import annotations

import io
import tarfile

from twofour.data import imagenet

import numpy as np
from PIL import Image
from scipy import io as matlab

WORDS = {"n01440764": "tench, Tinca tinca", "n01443537": "goldfish", "n01484850": "white shark"}
TRAIN = {"n01440764": 5, "n01443537": 4, "n01484850": 6}
TRUTH = [3, 1, 2, 2, 1, 3, 3]  # class number of each validation image
NUMBERS = dict(enumerate(WORDS, start=1))


def jpeg(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG")
    return content.getvalue()


def tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def kit(train=TRAIN, truth=TRUTH) -> bytes:
    kinds = [
        (name, "O")
        for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "num_train_images")
    ]
    rows = [(i, w, WORDS[w], "a fish", 0, train[w]) for i, w in NUMBERS.items()]
    rows.append((4, "n02512053", "fish", "all of them", 3, 0))  # a group, not a class
    meta = io.BytesIO()
    matlab.savemat(meta, {"synsets": np.array(rows, dtype=kinds).reshape(-1, 1)})
    lines = "".join(f"{number}\n" for number in truth).encode()
    top = "ILSVRC2012_devkit_t12/data/"
    return tar(
        {
            top + "meta.mat": meta.getvalue(),
            top + "ILSVRC2012_validation_ground_truth.txt": lines,
        },
        "w:gz",
    )


def train_images(wnid: str) -> dict[str, bytes]:
    return {f"{wnid}_{i}.JPEG": jpeg(int(wnid[-3:]) + i) for i in range(TRAIN[wnid])}


def deliver(root, **other):
    """Put the three files into ``root``, some of them replaced by ``other`` contents."""
    root.mkdir()
    val = {f"ILSVRC2012_val_{i:08d}.JPEG": jpeg(2000 + i) for i in range(1, len(TRUTH) + 1)}
    files = {
        "train": tar({f"{w}.tar": tar(train_images(w)) for w in WORDS}),
        "val": tar(val),
        "kit": kit(),
        **other,
    }
    names = {"train": imagenet.TRAIN_TAR, "val": imagenet.VAL_TAR, "kit": imagenet.KIT_TAR}
    for key, name in names.items():
        if files[key] is not None:
            (root / name).write_bytes(files[key])
    return root
