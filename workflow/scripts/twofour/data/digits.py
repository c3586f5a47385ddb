"""scikit-learn's handwritten digits, the images of the demo."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image

from ..system import progress

SIZE = 32  # pixels
_SIDE = 8  # of the originals
# Where the package has them: a row for each, of pixels from 0 to 16 and the digit. To load the
# package itself takes a second.
_TABLE = "sklearn/datasets/data/digits.csv.gz"


def write(out: Path) -> int:
    """Write all of them as JPEG files to ``out``/<digit>/; returns how many there are."""
    package = metadata.distribution("scikit-learn")
    table = np.loadtxt(str(package.locate_file(_TABLE)), delimiter=",")
    pixels = np.round(table[:, :-1].reshape(-1, _SIDE, _SIDE) * (255 / 16)).astype(np.uint8)
    labels = table[:, -1].astype(int)
    with progress.bar(len(pixels), "writing digits", "img") as bar:
        for index, (image, label) in enumerate(zip(pixels, labels)):
            path = out / str(label) / f"{index:04d}.jpg"
            scaled = Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            path.parent.mkdir(parents=True, exist_ok=True)
            scaled.convert("RGB").save(path, quality=95)
            bar.update()
    return len(pixels)
