"""Is this file an image that training can use? Every file is really decoded to find out."""

from __future__ import annotations

import hashlib
import os
import warnings
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from . import decoding, members
from .formats import EXTENSIONS, KNOWN_EXTENSIONS

READERS = [name for name in EXTENSIONS if name != "MPO"]  # Pillow's JPEG reader detects MPO
_ORIENTATION = 0x0112  # EXIF tag
UPRIGHT = 1  # its value for an image that needs no turning
MAX_PIXELS = 200_000_000  # above this a file is a decompression bomb rather than a picture
_HEAD = 1 << 16  # bytes in which a JPEG file says what it is


class Verdict(NamedTuple):  # there may be millions of them
    """The result for one file: ``reason`` is None for a usable image, else why it is unusable.

    ``digest`` identifies the decoded pixels, so that a copy is found even if its metadata differ.
    ``orientation`` is the EXIF orientation, 1 to 8, by which viewers rotate or mirror the image
    and DALI's decoders do not, 1 being upright (TIFF files count as such, since they turn those);
    ``misnamed`` says that its format is not that of its extension.
    """

    reason: str | None
    size: int = 0  # bytes
    width: int = 0
    height: int = 0
    digest: bytes = b""
    orientation: int = UPRIGHT
    misnamed: bool = False


def inspect(path: str, thorough: bool = False) -> Verdict:
    """Decode the file at ``path`` in full and judge it. Never raises for a bad file.

    What is not a plain JPEG file is decoded by DALI as well; with ``thorough``, these are, too.
    """
    try:
        size, _ = members.look(path)
    except OSError as error:
        return Verdict(f"cannot be read: {error.strerror}")
    if size == 0:
        return Verdict("empty file")
    if "\n" in path or "\r" in path:
        return Verdict("line break in the file name, which a file list cannot hold", size)
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return Verdict("file name is not valid UTF-8", size)
    extension = os.path.splitext(path)[1].lower()  # noqa: PTH122 (Path is slow)
    try:
        with members.opened(path) as file, warnings.catch_warnings():
            head = file.read(_HEAD)
            if kind := decoding.foreign(head):
                return Verdict(f"{kind}, which DALI cannot decode: {decoding.CONVERT}", size)
            if extension not in KNOWN_EXTENSIONS:
                return Verdict(f"not an image: extension {extension or 'missing'}", size)
            warnings.simplefilter("ignore")  # Pillow warns of harmless metadata
            file.seek(0)
            with Image.open(file, formats=READERS) as image:
                check = thorough or not decoding.is_plain_jpeg(head)
                return _judge(image, file, extension, size, check)
    except OSError as error:
        if error.errno is not None:
            return Verdict(f"cannot be read: {error.strerror}", size)
        what = "not an image" if "cannot identify" in str(error) else "cannot be decoded"
        return Verdict(what + ("" if what == "not an image" else f": {error}"), size)
    except Exception as error:  # Pillow raises many kinds on damaged files
        return Verdict(f"cannot be decoded: {type(error).__name__}: {error}", size)


def _judge(image: Image.Image, file: BinaryIO, extension: str, size: int, check: bool) -> Verdict:
    kind = str(image.format)
    if image.width * image.height > MAX_PIXELS:
        return Verdict(f"too large: {image.width}×{image.height} pixels", size)
    image.load()
    orientation = _orientation(image)  # after loading, by which Pillow turns TIFF files itself
    pixels, native = _pixels(image)
    if check:
        views = [np.asarray(pixels)]
        if orientation != UPRIGHT:
            views.append(np.asarray(ImageOps.exif_transpose(pixels)))
        file.seek(0)
        if reason := decoding.failure(file.read(), *views):
            return Verdict(reason, size)
    digest = hashlib.blake2b(repr(pixels.size).encode(), digest_size=16)
    digest.update(native)
    misnamed = extension not in EXTENSIONS[kind]
    return Verdict(None, size, image.width, image.height, digest.digest(), orientation, misnamed)


def _pixels(image: Image.Image) -> tuple[Image.Image, bytes]:
    """The picture that viewers show, in 8-bit RGB, and the bytes of its pixels as they are."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        native = np.asarray(image)
        bright = native.astype(np.float64)
        top = 1.0 if image.mode == "F" else 65535.0
        shown = np.clip(np.rint(bright * (255 / top)), 0, 255).astype(np.uint8)
        return Image.fromarray(shown).convert("RGB"), native.tobytes()
    pixels = image if image.mode == "RGB" else image.convert("RGB")
    return pixels, pixels.tobytes()


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(_ORIENTATION, UPRIGHT)
        return int(found) if found in range(1, 9) else UPRIGHT
    except Exception:  # damaged metadata do not affect the pixels
        return UPRIGHT
