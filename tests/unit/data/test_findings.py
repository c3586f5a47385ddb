"""What the log of the dataset stage and the report warn of."""

from twofour.data import dataset, findings
from twofour.data.settings import Data

from conftest import make_images
from PIL import Image


def test_each_finding_is_a_sentence(tmp_path):
    root = make_images(tmp_path / "images")
    summary = dataset.prepare(str(root), str(tmp_path / "a"), Data(), workers=1)
    assert findings.warnings(summary) == []
    source = root / "train" / "bright" / "image 00.jpg"
    (root / "val" / "bright" / "leak.jpg").write_bytes(source.read_bytes())
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(source).rotate(5).save(root / "train" / "bright" / "turned.jpg", exif=exif)
    summary = dataset.prepare(str(root), str(tmp_path / "b"), Data(), workers=1)
    (leak,) = findings.warnings(summary)  # nothing is wrong with a picture that is turned
    assert summary["turned_by_exif"]["count"] == 1
    summary = dataset.prepare(str(root), str(tmp_path / "b"), Data(exif="ignore"), workers=1)
    leak, turned = findings.warnings(summary)
    assert leak.startswith("1 images are in both splits") and "leak.jpg" in leak
    assert turned.startswith("1 images are rotated") and "turned.jpg" in turned
    nested = {**summary, "nested": ["animals/cat", "animals/dog"]}
    assert "if they should be animals/cat, animals/dog" in findings.warnings(nested)[0]
