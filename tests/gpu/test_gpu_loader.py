"""DALI's pipelines on the GPU against those on the CPU."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from twofour import config
from twofour.data import lists
from twofour.data.loader import Loader, Pipeline

import numpy as np
import pytest
from conftest import TINY

# Two JPEG decoders differ by a level or two of 255; one level is 0.016 after normalisation.
MEAN, WORST = 0.02, 0.25
DATA = config.validated(TINY).data


def apart(*arguments, **options):
    """:func:`batches` in a process of its own.

    DALI 1.34 aborted on an H100 when a process let go of a pipeline for the GPU and of one without.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(batches, *arguments, **options).result()


def batches(paths, device, data=DATA, orientations=None, **options):
    pipeline = Pipeline(data, 4, 8, threads=2, device=device, seed=3, **options)
    loader = Loader(paths, pipeline, orientations=orientations)
    return [(np.array(images), positions) for images, positions in loader.epoch()]


@pytest.mark.parametrize("decoder", ["gpu", "cpu"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("turned", [False, True])
def test_both_devices_give_the_same_images(prepared, training, decoder, turned):
    data = replace(DATA, decoder=decoder)
    paths = lists.read(prepared).train.paths
    orientations = np.arange(len(paths), dtype=np.uint8) % 8 + 1 if turned else None
    there, here = (
        apart(paths, device, data, orientations, training=training) for device in ("gpu", "cpu")
    )
    assert len(there) == len(here)
    for (ours, positions), (theirs, expected) in zip(there, here):
        assert positions.tolist() == expected.tolist()  # same order, and below the same crops
        difference = np.abs(ours - theirs)
        assert difference.mean() < MEAN and np.quantile(difference, 0.999) < WORST


@pytest.mark.parametrize("layout", ["CHW", "HWC"])
def test_batches_stay_on_the_gpu_for_paddle(prepared, layout):
    paddle = pytest.importorskip("paddle")
    if not paddle.is_compiled_with_cuda():
        pytest.skip("this PaddlePaddle was built without CUDA")
    paths = lists.read(prepared).val.paths
    options = {"training": False, "layout": layout, "half": True}
    pipeline = Pipeline(DATA, 4, 8, threads=1, device="gpu", stay=True, **options)
    loader = Loader(paths, pipeline)
    kept = [images for images, _ in loader.epoch()]
    assert all(images._place().is_gpu_place() for images in kept)
    plain = batches(paths, "gpu", **options)
    for images, (expected, _) in zip(kept, plain):
        np.testing.assert_array_equal(np.array(images), expected)
        assert expected.dtype == np.float16
