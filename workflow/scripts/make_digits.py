#!/usr/bin/env python3
"""Write scikit-learn's handwritten digits as a folder of JPEG files, one folder a class."""

from __future__ import annotations

from pathlib import Path

from twofour import cli, progress

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIZE = 32  # pixels; the originals have 8×8


def main(options) -> None:
    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    with progress.bar(len(pixels), "writing digits", "img") as bar:
        for index, (image, label) in enumerate(zip(pixels, digits.target)):
            path = Path(options.out) / str(label) / f"{index:04d}.jpg"
            scaled = Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            path.parent.mkdir(parents=True, exist_ok=True)
            scaled.convert("RGB").save(path, quality=95)
            bar.update()
    cli.log.info("wrote %d images of %d digits to %s", len(pixels), 10, options.out)


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    cli.run(main, parser)
