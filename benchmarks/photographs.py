"""A folder of images that is harder than the digits: crops of photographs that packages ship.

Each photograph of scikit-image, scikit-learn and matplotlib is a class: small crops of it, turned,
scaled, without colour, of changed brightness and contrast, and with noise. Crops for validation are
drawn like those for training, from the same photographs, so that the set says how well masks keep
what a network has learnt, and nothing about other photographs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 40  # pixels of a crop's side as it is stored
# Those of scikit-image's that are in its wheel.
SHIPPED = ("astronaut.png", "brick.png", "chelsea.png", "coffee.png", "coins.png", "grass.png")
SHIPPED += ("gravel.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "retina.jpg")
SHIPPED += ("rocket.jpg",)


def sources() -> dict[str, Image.Image]:
    """{name: photograph in grey}."""
    import matplotlib
    import skimage
    from sklearn import datasets

    folder = Path(skimage.__file__).parent / "data"
    found = {Path(name).stem: Image.open(folder / name).convert("L") for name in SHIPPED}
    loaded = datasets.load_sample_images()
    for path, pixels in zip(loaded.filenames, loaded.images):
        found[Path(path).stem] = Image.fromarray(pixels).convert("L")
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    found[hopper.stem] = Image.open(hopper).convert("L")
    return found


def make(root: Path, train: int, val: int, noise: float, seed: int = 0) -> None:
    """Write ``root``/train and ``root``/val, with so many images in each class.

    ``noise`` is the standard deviation of what is added to each pixel, of 255.
    """
    rng = np.random.default_rng(seed)
    for name, image in sources().items():
        for split, count in (("train", train), ("val", val)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                _crop(image, rng, noise).save(folder / f"{number:04d}.jpg", quality=92)


def _crop(image: Image.Image, rng: np.random.Generator, noise: float) -> Image.Image:
    side = int(min(image.size) * rng.uniform(0.15, 0.4))
    x, y = (int(rng.integers(0, length - side + 1)) for length in image.size)
    turned = image.rotate(
        rng.uniform(-20, 20), Image.Resampling.BILINEAR, center=(x + side / 2, y + side / 2)
    )
    crop = turned.crop((x, y, x + side, y + side))
    pixels = np.asarray(crop.resize((SIZE, SIZE), Image.Resampling.BOX)).astype(float)
    mean = pixels.mean()
    pixels = (pixels - mean) * rng.uniform(0.5, 1.2) + mean + rng.uniform(-40, 40)
    pixels += rng.normal(0, noise, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).convert("RGB")
