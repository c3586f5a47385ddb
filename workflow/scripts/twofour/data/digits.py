"""scikit-learn's handwritten digits, the images of the demo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from ..system import progress

SIZE = 32  # pixels; the originals have 8×8


def write(out: Path) -> int:
    """Write all of them as JPEG files to ``out``/<digit>/; returns how many there are."""
    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    with progress.bar(len(pixels), "writing digits", "img") as bar:
        for index, (image, label) in enumerate(zip(pixels, digits.target)):
            path = out / str(label) / f"{index:04d}.jpg"
            scaled = Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            path.parent.mkdir(parents=True, exist_ok=True)
            scaled.convert("RGB").save(path, quality=95)
            bar.update()
    return len(pixels)
