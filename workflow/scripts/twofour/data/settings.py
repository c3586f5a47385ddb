"""The section ``data`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..system.sections import Section, key

_SIDE = {"type": "integer", "minimum": 8, "maximum": 1024}
_FROM_EPOCH = {
    "type": "array",
    "minItems": 2,
    "maxItems": 2,
    "items": {"type": "integer", "minimum": 1, "maximum": 10000},
}


@dataclass(frozen=True, repr=False)
class Data(Section):
    """Where the images come from, and how they become the network's input."""

    source: Literal["digits", "folder", "shards", "ilsvrc2012"] = key(
        "folder",
        "where the images come from: digits (built in: 1797 handwritten digits of scikit-learn), "
        "folder (your own, at data.root), shards (tar files at data.root, as WebDataset keeps "
        "them) or ilsvrc2012 (ImageNet as it is delivered, at data.root)",
    )
    root: str | None = key(
        None,
        "folder with train/<class>/<image> and val/<class>/<image>, or <class>/<image> alone; with "
        "shards the folder with tar files whose names say train or val, or none does; with "
        "ilsvrc2012 the folder with ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and the "
        "development kit, or with what was extracted from them",
    )
    val_fraction: float = key(
        0.2,
        "share of the images that become the validation set when the folder has only one split "
        "(on average: whether an image does is decided by its pixels, so that it stays on its "
        "side whatever is added)",
        exclusiveMinimum=0,
        exclusiveMaximum=1,
    )
    split_seed: int = key(
        1,
        "another number draws another validation set, when the folder has only one split",
        minimum=0,
        maximum=2147483647,
    )
    max_rejected: float = key(
        0.01,
        "largest share of files that may be unusable before the dataset stage stops",
        minimum=0,
        maximum=1,
    )
    shuffle_buffer: int = key(
        4096,
        "images of which the next one is drawn at random in training, with source shards, where "
        "they are read as they lie in the tar files; they wait in memory, undecoded",
        minimum=1,
        maximum=1000000,
    )
    exif: Literal["apply", "ignore"] = key(
        "apply",
        "whether images are turned as their EXIF orientation says: apply (what viewers show) or "
        "ignore (as the pixels are stored, as the published ImageNet recipes do; the decoder turns "
        "TIFF files all the same)",
    )
    image_size: int = key(
        224, "height and width of the network's input, in pixels", minimum=8, maximum=1024
    )
    train_size: int | list[list[int]] | None = key(
        None,
        "height and width of the crops in training, in pixels: null for image_size, another number "
        "(a network trained at 176 may gain by being evaluated at 224), or a list of [first epoch, "
        "size] that changes it as training goes on (progressive resizing)",
        schema={
            "oneOf": [
                {"type": "null"},
                _SIDE,
                {"type": "array", "minItems": 1, "items": _FROM_EPOCH},
            ]
        },
    )
    resize: int = key(
        256,
        "shorter side, in pixels, to which an image is resized before the centre crop in "
        "evaluation",
        minimum=8,
        maximum=2048,
    )
    crop_area: list[float] = key(
        [0.08, 1.0],
        "smallest and largest area of the random crop in training, as a share of the image",
        minItems=2,
        maxItems=2,
        items={"exclusiveMinimum": 0, "maximum": 1},
    )
    crop_ratio: list[float] = key(
        [3 / 4, 4 / 3],
        "smallest and largest width/height of the random crop in training",
        minItems=2,
        maxItems=2,
        items={"exclusiveMinimum": 0, "maximum": 10},
    )
    flip: bool = key(
        True,
        "mirror half of the training images left to right (false where left and right matter, as "
        "in digits)",
    )
    augment: Literal["none", "randaugment", "trivialaugment"] = key(
        "none",
        "further changes to the training images after the crop, from DALI's lists of operations "
        "(shear, rotation, brightness …): trivialaugment (one of random strength) or randaugment",
    )
    augment_operations: int = key(
        2, "operations that randaugment applies to each image", minimum=1, maximum=10
    )
    augment_magnitude: int = key(
        9, "strength of randaugment's operations, of 30", minimum=0, maximum=30
    )
    mean: list[float] = key(
        [0.485, 0.456, 0.406],
        "mean of red, green, blue that is subtracted, on the scale 0 to 1",
        minItems=3,
        maxItems=3,
        items={"minimum": 0, "maximum": 1},
    )
    std: list[float] = key(
        [0.229, 0.224, 0.225],
        "standard deviation of red, green, blue by which the difference is divided, on the scale "
        "0 to 1",
        minItems=3,
        maxItems=3,
        items={"exclusiveMinimum": 0, "maximum": 1},
    )
    decoder: Literal["gpu", "cpu"] = key(
        "gpu",
        "where JPEG files are decoded when networks run on a GPU: gpu (by nvJPEG, the first part "
        "of it on the processor) or cpu",
    )
    decoder_load: float = key(
        0.65,
        "share of the images that a GPU's own JPEG decoder takes (A100 and later have one); the "
        "rest is decoded by its other cores",
        decides=False,
        minimum=0,
        maximum=1,
    )
    prefetch: int = key(
        2,
        "batches that are prepared while the network computes",
        decides=False,
        minimum=1,
        maximum=64,
    )
