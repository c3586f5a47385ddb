"""A few lines of Python that classify an image with NumPy, Pillow and ONNX Runtime alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LINES = Path(__file__).with_suffix(".txt")  # with fields for str.format


def text(about: Mapping[str, Any], folder: str) -> str:
    """The lines for the model in ``folder`` that ``about``, its model.json, describes.

    They do what the evaluation does, but for the rounding of the resized pixels, which differ by
    less than one of 255 on average.
    """
    given = about["input"]
    opened = "Image.open(sys.argv[1])"
    turned = given["exif_orientation"] == "applied"
    four = given["shape"][1] == 4
    return _LINES.read_text(encoding="utf-8").format(
        folder=folder,
        more=", ImageOps" if turned else "",
        image=f"ImageOps.exif_transpose({opened})" if turned else opened,
        extra="pixels = np.pad(pixels, [(0, 0), (0, 1), (0, 0), (0, 0)])\n" if four else "",
    )
