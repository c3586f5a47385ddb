"""What the dataset stage accepts, DALI decodes to the picture that a viewer shows."""

import io
import struct

from twofour.data import decoding
from twofour.data.culprit import unreadable
from twofour.data.decoder import as_stored
from twofour.data.images import inspect

import numpy as np
import pytest
from conftest import ROOT
from nvidia.dali import fn, pipeline_def, types
from PIL import Image

CASES = ROOT / "tests" / "cases" / "images"
DALI_2 = "adjust_orientation" in as_stored()
READ_BY_DALI_2 = (
    *("icc_lossy.webp", "anim.webp", "j2k_codestream.jp2", "tiff_big.tif", "p6_comment.ppm"),
    "tiff_minwhite.tif",
)
CONVERT = ": convert it to JPEG or PNG"
RNG = np.random.default_rng(0)
# Smooth, so that lossy formats and their decoders keep it.
SLOPES = np.stack(
    np.broadcast_arrays(np.arange(60)[None, :] * 4, np.arange(40)[:, None] * 6, 90), axis=-1
).astype(np.uint8)


def encoded(form, mode="RGB", **options):
    buffer = io.BytesIO()
    Image.fromarray(SLOPES).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def by_dali(path):
    """As in training, from a file."""

    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def decoder():
        content, _ = fn.readers.file(files=[str(path)])
        return fn.decoders.image(content, output_type=types.RGB, **as_stored())

    pipeline = decoder()
    pipeline.build()
    return np.asarray(pipeline.run()[0].as_tensor())[0]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("icc_lossy.webp", "DALI cannot decode it (WebP extended file format is not supported)"),
        ("anim.webp", "DALI cannot decode it (WebP extended file format is not supported)"),
        ("png_cut_12.png", "DALI cannot decode it ("),
        ("j2k_codestream.jp2", "DALI cannot decode it (Unrecognized image format"),
        ("tiff_big.tif", "DALI cannot decode it (Unrecognized image format"),
        ("p6_comment.ppm", "DALI cannot decode it ("),
        ("cmyk_no_adobe.jpg", "DALI decodes it to other colours or another size than viewers do"),
        ("tiff_minwhite.tif", "DALI decodes it to other colours or another size than viewers do"),
        ("heic_named.jpg", "HEIC, which DALI cannot decode"),
        ("gray16.png", None),
        ("n02105855_2933.JPEG", None),
    ],
)
def test_cases(name, reason):
    found = inspect(str(CASES / name))
    if DALI_2 and found.reason is None and name in READ_BY_DALI_2:
        pytest.skip("this DALI decodes it as viewers do")
    if reason is None:
        assert found.reason is None
        by_dali(CASES / name)
    else:
        assert found.reason.startswith(reason) and found.reason.endswith(CONVERT)
        assert "\n" not in found.reason and "/opt/" not in found.reason
    assert found.misnamed == name.endswith(".JPEG")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jpg", encoded("JPEG", progressive=True)),
        ("a.jpg", encoded("JPEG", "L")),
        ("a.jpg", encoded("JPEG", "CMYK")),
        ("a.jpg", encoded("JPEG", keep_rgb=True)),
        ("a.mpo", encoded("MPO")),
        *(("a.png", encoded("PNG", mode)) for mode in ("RGB", "RGBA", "P", "L", "LA", "1")),
        *(("a.bmp", encoded("BMP", mode)) for mode in ("RGB", "L", "P", "1")),
        *(("a.webp", encoded("WEBP", lossless=loss)) for loss in (True, False)),
        *(("a.tif", encoded("TIFF", mode)) for mode in ("RGB", "L", "P", "1", "RGBA", "CMYK")),
        *(
            ("a.tif", encoded("TIFF", compression=c))
            for c in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        ),
        *(("a.ppm", encoded("PPM", mode)) for mode in ("RGB", "L", "1")),
        ("a.jp2", encoded("JPEG2000")),
        ("a.jpg", encoded("PNG")),
        ("a.png", encoded("BMP")),
    ],
)
def test_what_is_accepted_is_what_a_viewer_shows(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    found = inspect(str(path))
    if found.reason is None:
        shown = np.asarray(Image.open(path).convert("RGB"), dtype=np.int16)
        assert np.abs(by_dali(path) - shown).mean() < decoding.DIFFERENT
    else:
        assert found.reason.endswith(CONVERT)


def test_common_formats_are_accepted(tmp_path):
    for name, content in (
        ("a.jpg", encoded("JPEG")),
        ("b.png", encoded("PNG")),
        ("c.png", encoded("PNG", "RGBA")),
        ("d.bmp", encoded("BMP")),
        ("e.webp", encoded("WEBP")),
        ("f.tif", encoded("TIFF")),
        ("g.ppm", encoded("PPM")),
        ("h.jp2", encoded("JPEG2000")),
    ):
        (tmp_path / name).write_bytes(content)
        assert inspect(str(tmp_path / name)).reason is None, name


def box(brand):
    return struct.pack(">I4s4sI", 20, b"ftyp", brand, 0) + b"mif1"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (box(b"heic"), "HEIC"),
        (box(b"avif"), "AVIF"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "JPEG XL"),
        (encoded("JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "12-bit JPEG"),
        (encoded("GIF"), "GIF"),
    ],
)
@pytest.mark.parametrize("name", ["a.jpg", "a.heic", "a.bin"])
def test_other_formats_are_named_as_what_they_are(tmp_path, content, kind, name):
    (tmp_path / name).write_bytes(content)
    assert inspect(str(tmp_path / name)).reason == f"{kind}, which DALI cannot decode{CONVERT}"


def test_sixteen_bit_greys_are_told_apart(tmp_path):
    digests = set()
    for number in range(5):
        pixels = RNG.integers(300, 1 << 16, (20, 30)).astype(np.uint16)
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        found = inspect(str(path))
        assert found.reason is None
        digests.add(found.digest)
        assert np.abs(by_dali(path)[..., 0].astype(int) - pixels / 257).mean() < 1
    assert len(digests) == 5


def test_dali_goes_on_after_a_file_that_it_cannot_decode():
    bad, good = (CASES / "png_cut_12.png").read_bytes(), encoded("PNG")
    for _ in range(3):
        assert "cannot decode" in decoding.failure(bad)
        assert decoding.failure(good, SLOPES) is None
        assert "other colours" in decoding.failure(good, 255 - SLOPES)


def test_a_plain_jpeg_is_one_that_every_decoder_reads_alike():
    for options in ({}, {"progressive": True}, {"mode": "L"}, {"subsampling": 2}):
        assert decoding.is_plain_jpeg(encoded("JPEG", **options)), options
    for content in (
        encoded("JPEG", "CMYK"),
        encoded("JPEG", keep_rgb=True),
        encoded("PNG"),
        (CASES / "cmyk_no_adobe.jpg").read_bytes(),
        b"\xff\xd8",
        encoded("JPEG")[:100],
        b"",
    ):
        assert not decoding.is_plain_jpeg(content)


def test_metadata_that_look_like_a_frame_are_not_one(tmp_path):
    content = encoded("JPEG")
    inside = b"\xff\xc1\0\x11\x0c" + bytes(20)
    comment = b"\xff\xfe" + struct.pack(">H", len(inside) + 2) + inside
    path = tmp_path / "a.jpg"
    path.write_bytes(content[:2] + comment + content[2:])
    assert decoding.is_plain_jpeg(path.read_bytes())
    assert inspect(str(path)).reason is None


@pytest.mark.parametrize("length", range(2, 200, 3))
def test_any_beginning_of_a_file_is_judged(length):
    decoding.is_plain_jpeg(encoded("JPEG")[:length])
    decoding.foreign(encoded("JPEG")[:length])


def test_the_file_that_stops_training_is_named_by_trying_dali(tmp_path):
    paths = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        path.write_bytes(encoded("PNG"))
        paths.append(str(path))
    (tmp_path / "2.png").write_bytes((CASES / "png_cut_12.png").read_bytes())
    message = unreadable(paths, RuntimeError("no name"))
    assert f"{paths[2]} (DALI cannot decode it" in message
