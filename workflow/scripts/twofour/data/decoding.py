"""Does NVIDIA DALI decode a file, and to the picture that a viewer shows?

Training decodes with DALI, which stops for good at a file that it cannot decode, and which gives
some kinds of files other colours than every viewer does. So the check of the dataset lets DALI
itself decode whatever is not a plain JPEG file.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..system.quiet import hidden_stderr
from . import decoder

# Mean difference, of 255, above which two pictures are not the same. Decoders of lossy formats
# differ by less than 3; inverted or mixed-up colours by dozens.
DIFFERENT = 8.0
CONVERT = "convert it to JPEG or PNG"


@dataclass(frozen=True)
class _Frame:
    """What the header of a JPEG file's frame says (ITU-T T.81, B.2.2), and Adobe's segment."""

    kind: int  # the marker, SOF0 being 0xC0
    bits: int
    components: int
    names: bytes
    adobe: int | None  # the colour transform: 0 none, 1 YCbCr, 2 YCCK


def _frame(content: bytes) -> _Frame | None:
    """The frame header of a JPEG file that begins with ``content``, or None."""
    position, adobe = 2, None
    while content[:2] == b"\xff\xd8" and position + 12 <= len(content):
        if content[position] != 0xFF:
            return None
        marker = content[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        length = int.from_bytes(content[position + 2 : position + 4], "big")
        segment = content[position + 4 : position + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if len(segment) < 6:
                return None
            return _Frame(marker, segment[0], segment[5], segment[6::3][: segment[5]], adobe)
        if marker == 0xEE and segment.startswith(b"Adobe") and len(segment) > 11:
            adobe = segment[11]
        if marker == 0xDA or length < 2:
            return None
        position += 2 + length
    return None


def is_plain_jpeg(content: bytes) -> bool:
    """Whether this is the beginning of a JPEG file that all decoders read alike.

    That is one of 8 bits, Huffman-coded (baseline, extended or progressive), grey or YCbCr.
    """
    frame = _frame(content)
    return (
        frame is not None
        and frame.kind in (0xC0, 0xC1, 0xC2)
        and frame.bits == 8
        and frame.components in (1, 3)
        and frame.names != b"RGB"
        and frame.adobe in (None, 1)
    )


def foreign(content: bytes) -> str | None:
    """The name of a format that neither DALI nor this check reads, by the file's first bytes."""
    if content[4:8] == b"ftyp":
        brand = content[8:12]
        if brand in (b"avif", b"avis"):
            return "AVIF"
        if brand in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"):
            return "HEIC"
        return "a video"
    signatures = {
        b"\xff\x0a": "JPEG XL",
        b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
        b"GIF8": "GIF",
        b"8BPS": "Photoshop",
        b"%PDF": "PDF",
        b"II\xbc": "JPEG XR",
        b"\0\0\x01\0": "an icon",
    }
    for start, name in signatures.items():
        if content.startswith(start):
            return name
    frame = _frame(content)
    return "12-bit JPEG" if frame is not None and frame.bits == 12 else None


def failure(content: bytes, *pictures: np.ndarray) -> str | None:
    """Why DALI does not decode ``content`` to one of ``pictures``, [H, W, 3] uint8, or None."""
    found = _by_dali(content)
    if isinstance(found, str):
        return f"DALI cannot decode it ({found}): {CONVERT}"
    if not any(_same(found, picture) for picture in pictures):
        return f"DALI decodes it to other colours or another size than viewers do: {CONVERT}"
    return None


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    if first.shape != second.shape:
        return False
    # In 16 bits and by rows, since a picture may have 200 million pixels.
    total = sum(
        int(np.abs(a.astype(np.int16) - b.astype(np.int16)).sum(dtype=np.int64))
        for a, b in zip(first, second)
    )
    return total <= DIFFERENT * first.size


def _by_dali(content: bytes) -> np.ndarray | str:
    """The picture [H, W, 3] uint8, or the reason."""
    with hidden_stderr():
        feed, pipeline = _pipeline()
        feed.append(np.frombuffer(content, dtype=np.uint8))
        try:
            (images,) = pipeline.run()
            return np.array(images.at(0))
        except RuntimeError as error:
            _pipeline.cache_clear()  # it does not run again after an error
            return _reason(error)
        finally:
            feed.clear()


@functools.cache
def _pipeline() -> tuple[list[np.ndarray], Any]:
    """The next file's content goes into the list, and its picture comes from the pipeline."""
    from nvidia.dali import fn, pipeline_def, types

    feed: list[np.ndarray] = []

    @pipeline_def(batch_size=1, num_threads=1, device_id=None, prefetch_queue_depth=1)
    def decoded():
        encoded = fn.external_source(source=lambda: [feed[-1]], batch=True)
        return fn.decoders.image(encoded, output_type=types.RGB, **decoder.as_stored())

    pipeline = decoded()
    pipeline.build()
    return feed, pipeline


def _reason(error: RuntimeError) -> str:
    """The words of DALI's message that say what it could not do."""
    told = re.findall(r"\.(?:cc|cu|h):\d+\] ([^\[\n]+)$", str(error), re.MULTILINE)
    return told[0].strip(" .")[:120] if told else "it gives no reason"
