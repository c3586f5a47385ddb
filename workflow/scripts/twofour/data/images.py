"""Is this file an image that training can use? Every file is really decoded to find out."""

from __future__ import annotations

import hashlib
import os
import warnings
from typing import NamedTuple

from PIL import Image

# What DALI's decoders read, and the extensions that belong to each format (Pillow's names).
EXTENSIONS = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".mpo"},  # several JPEGs in one file, as phones write them
    "PNG": {".png"},
    "BMP": {".bmp"},
    "WEBP": {".webp"},
    "TIFF": {".tif", ".tiff"},
    "PPM": {".ppm", ".pgm", ".pbm", ".pnm"},
    "JPEG2000": {".jp2"},
}
# Pillow's JPEG reader detects MPO; GIF is read only to be reported as an unsupported format.
READERS = [*(name for name in EXTENSIONS if name != "MPO"), "GIF"]
KNOWN_EXTENSIONS = frozenset().union(*EXTENSIONS.values())
_ORIENTATION = 0x0112  # EXIF tag; 1 is upright
MAX_PIXELS = 200_000_000  # above this a file is a decompression bomb rather than a picture


class Verdict(NamedTuple):  # there may be millions of them
    """The result for one file: ``reason`` is None for a usable image, else why it is unusable.

    ``digest`` identifies the decoded pixels, so that a copy is found even if its metadata differ.
    ``turned`` says that viewers rotate or mirror the image by its EXIF orientation, which DALI's
    decoders do not.
    """

    reason: str | None
    size: int = 0  # bytes
    width: int = 0
    height: int = 0
    digest: bytes = b""
    turned: bool = False


def inspect(path: str) -> Verdict:
    """Decode the file at ``path`` in full and judge it. Never raises for a bad file."""
    try:
        size = os.stat(path).st_size
    except OSError as error:
        return Verdict(f"cannot be read: {error.strerror}")
    if size == 0:
        return Verdict("empty file")
    extension = os.path.splitext(path)[1].lower()  # noqa: PTH122 (Path is slow)
    if extension not in KNOWN_EXTENSIONS:
        return Verdict(f"not an image: extension {extension or 'missing'}", size)
    if "\n" in path or "\r" in path:
        return Verdict("line break in the file name, which a file list cannot hold", size)
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return Verdict("file name is not valid UTF-8", size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of harmless metadata
            with Image.open(path, formats=READERS) as image:
                return _judge(image, extension, size)
    except OSError as error:
        if error.errno is not None:
            return Verdict(f"cannot be read: {error.strerror}", size)
        what = "not an image" if "cannot identify" in str(error) else "cannot be decoded"
        return Verdict(what + ("" if what == "not an image" else f": {error}"), size)
    except Exception as error:  # Pillow raises many kinds on damaged files
        return Verdict(f"cannot be decoded: {type(error).__name__}: {error}", size)


def _judge(image: Image.Image, extension: str, size: int) -> Verdict:
    kind = image.format
    if kind not in EXTENSIONS:
        return Verdict(f"{kind} images are not supported", size)
    if extension not in EXTENSIONS[kind]:
        return Verdict(f"wrong extension: {extension} file with {kind} content", size)
    if image.width * image.height > MAX_PIXELS:
        return Verdict(f"too large: {image.width}×{image.height} pixels", size)
    if kind == "TIFF" and image.mode in ("CMYK", "LAB", "YCbCr"):
        return Verdict(
            f"{image.mode} colours in a TIFF file, which decoders read differently", size
        )
    image.load()
    pixels = image if image.mode == "RGB" else image.convert("RGB")
    digest = hashlib.blake2b(repr(pixels.size).encode(), digest_size=16)
    digest.update(pixels.tobytes())
    turned = _turned(image)
    return Verdict(None, size, image.width, image.height, digest.digest(), turned)


def _turned(image: Image.Image) -> bool:
    try:
        return image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    except Exception:  # damaged metadata do not affect the pixels
        return False
