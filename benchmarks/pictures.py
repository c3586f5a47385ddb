"""Images for the benchmarks: grainy coloured clouds, with files as large as photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def make(folder: Path, count: int, width: int, height: int, classes: int = 2) -> list[str]:
    """Write ``count`` JPEG files as an ImageFolder tree with train and val; returns train's."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        coarse = rng.integers(0, 256, (height // 24 + 2, width // 24 + 2, 3), dtype=np.uint8)
        cloud = np.asarray(Image.fromarray(coarse).resize((width, height), Image.BICUBIC), int)
        grain = rng.normal(0, 14, (height, width, 1))
        picture = Image.fromarray(np.clip(cloud + grain, 0, 255).astype(np.uint8))
        for split in ("train", "val") if number < 2 * classes else ("train",):
            path = folder / split / f"class{number % classes}" / f"{number:06d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=85 if split == "train" else 80)
            if split == "train":
                paths.append(str(path))
    return paths
