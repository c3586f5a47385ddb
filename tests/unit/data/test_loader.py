import functools
from dataclasses import replace

from twofour.data import decoder, lists
from twofour.data.loader import Loader, Pipeline
from twofour.system.errors import TwoFourError

import numpy as np
import pytest
from loading import drain, require_resuming, require_sharing, same
from PIL import Image


@pytest.fixture
def paths(prepared):
    return lists.read(prepared).val[0][:37]


def loader(paths, tiny, **options):
    state = options.pop("state", None)
    given = {"channels": 3, "training": True, "threads": 1, "seed": 4, **options}
    return Loader(paths, Pipeline(tiny.data, batch_size=8, **given), state)


def test_evaluation_gives_each_image_once_every_epoch(paths, tiny):
    run = loader(paths, tiny, training=False)
    for _ in range(2):
        assert np.concatenate([p for _, p in run.epoch()]).tolist() == list(range(37))


def test_training_is_a_new_permutation_without_the_incomplete_batch(paths, tiny):
    run = loader(paths, tiny)
    first, second = (np.concatenate([p for _, p in run.epoch()]) for _ in range(2))
    for positions in (first, second):
        assert len(positions) == 32 == len(set(positions.tolist()))
    assert first.tolist() != second.tolist()


def test_same_seed_same_batches_whatever_the_threads(paths, tiny):
    a, b, c = (loader(paths, tiny, **k) for k in ({}, {"threads": 2}, {"seed": 5}))
    a, b, c = (drain(x.epoch()) for x in (a, b, c))
    assert same(a, b)
    assert not same(a, c)


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 6])
def test_resumed_equals_uninterrupted(paths, tiny, cut):
    require_resuming(functools.partial(loader, paths, tiny), cut)


def test_fourth_channel_is_zero_and_normalisation_is_right(tmp_path, tiny):
    Image.new("RGB", (40, 36), (255, 0, 51)).save(tmp_path / "a.png")
    ((images, _),) = loader([str(tmp_path / "a.png")], tiny, training=False, channels=4).epoch()
    data = tiny.data
    expected = (np.array([1.0, 0.0, 0.2]) - data.mean) / data.std
    np.testing.assert_allclose(images[0, :3].mean((1, 2)), expected, atol=1e-4)
    assert (images[0, 3] == 0).all()


def test_vanished_file_and_small_list_are_sentences(paths, tiny, tmp_path):
    with pytest.raises(TwoFourError, match=r"train\.batch_size is 8"):
        loader(paths[:3], tiny)
    with pytest.raises(TwoFourError, match="cannot be read"):
        list(loader([str(tmp_path / "gone.jpg")], tiny, training=False).epoch())


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("training", [True, False])
def test_layouts_and_types_hold_the_same_images(paths, tiny, channels, training):
    options = {"training": training, "channels": channels}
    plain = drain(loader(paths, tiny, **options).epoch())
    other = drain(loader(paths, tiny, **options, layout="HWC", half=True).epoch())
    for (images, positions), (turned, same_positions) in zip(plain, other):
        assert positions.tolist() == same_positions.tolist()
        assert (images.dtype, turned.dtype) == (np.float32, np.float16)
        assert turned.shape[-1] == channels
        np.testing.assert_allclose(turned.transpose(0, 3, 1, 2), images, atol=2e-3)


@pytest.mark.parametrize("shards", [2, 3, 4])
def test_shards_see_each_image_at_most_once_and_another_part_each_epoch(paths, tiny, shards):
    runs = [loader(paths, tiny, shard=i, shards=shards) for i in range(shards)]
    require_sharing(runs, 8)


def test_shard_of_one_is_the_plain_loader_and_crops_differ_between_shards(paths, tiny):
    assert same(
        drain(loader(paths, tiny).epoch()), drain(loader(paths, tiny, shard=0, shards=1).epoch())
    )
    # Two shards crop the same image differently.
    one, other = (loader(paths[:8] * 2, tiny, shard=i, shards=2) for i in range(2))
    a, b = (next(iter(run.epoch())) for run in (one, other))
    assert not (a[0] == b[0]).all()


def test_resumed_at_another_size_goes_on_with_the_same_images(paths, tiny):
    run = loader(paths, tiny, size=24)
    batches = run.epoch()
    next(batches)
    other = loader(paths, tiny, size=16, state=run.state())
    rest, resumed = drain(batches), drain(other.epoch(1))
    assert [p.tolist() for _, p in rest] == [p.tolist() for _, p in resumed]
    assert {images.shape[2:] for images, _ in resumed} == {(16, 16)}


def test_decoder_options_follow_the_configuration(tiny):
    data = replace(tiny.data, decoder_load=0.4)
    assert decoder.options(data, "cpu")["device"] == "cpu"
    assert decoder.options(replace(data, decoder="cpu"), "gpu")["device"] == "cpu"
    found = decoder.options(data, "gpu")
    assert (found["device"], found["hw_decoder_load"]) == ("mixed", 0.4)
    assert found["preallocate_width_hint"] > 5000
