"""Training batches from JPEG files: load.py WHO FOLDER BATCH THREADS."""

import sys
import time
from pathlib import Path

import numpy as np
import turns

MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
STD = np.array([0.229, 0.224, 0.225], np.float32) * 255
SIZE = 224
BATCHES = 8  # per turn
AHEAD = 8  # batches that may be ready when a turn begins; they are used up before the clock starts


def ours(paths, batch, threads):
    loader = _loader(paths, batch, threads)
    while True:
        for images, _ in loader.epoch():
            yield images


def dali(paths, batch, threads):
    pipeline = _loader(paths, batch, threads)._pipeline
    while True:
        yield pipeline.run()


def decoded(paths, batch, threads):
    """The same files, decoded to the same crops, and nothing else."""
    from twofour import config
    from twofour.data import decoder

    from nvidia.dali import fn, pipeline_def, types

    data = config.validated({}).data

    @pipeline_def(batch_size=batch, num_threads=threads, device_id=None)
    def crops():
        encoded, _ = fn.readers.file(files=paths, random_shuffle=True, dont_use_mmap=True)
        return fn.decoders.image_random_crop(
            encoded,
            output_type=types.RGB,
            random_area=data.crop_area,
            random_aspect_ratio=data.crop_ratio,
            **decoder.options(data, "cpu"),
        )

    pipeline = crops()
    pipeline.build()
    while True:
        yield pipeline.run()


def ours_gpu(paths, batch, threads):
    loader = _loader(paths, batch, threads, device="gpu", stay=True)
    while True:
        for images, _ in loader.epoch():
            yield images


def dali_gpu(paths, batch, threads, decoder="gpu"):
    """The pipeline for GPUs alone, without PaddlePaddle to take its batches."""
    pipeline = _loader(paths, batch, threads, decoder, device="gpu")._pipeline
    while True:
        yield pipeline.run()


def dali_gpu_cpu(paths, batch, threads):
    """The same with JPEG files decoded on the CPU."""
    return dali_gpu(paths, batch, threads, "cpu")


def _loader(paths, batch, threads, decoder="gpu", **options):
    from twofour import config
    from twofour.data.loader import Loader, Pipeline
    from twofour.system import libraries
    from twofour.system.settings import Hardware

    if options.get("stay"):
        libraries.start(Hardware(device="gpu", threads=threads))
    else:  # DALI alone, also where PaddlePaddle cannot use the GPU
        libraries.prepare(Hardware(device="cpu", threads=threads))
    data = config.validated({"data": {"decoder": decoder}}).data
    options["layout"] = "HWC"  # as in training
    return Loader(paths, Pipeline(data, 3, batch, training=True, threads=threads, **options))


def paddle_opencv(paths, batch, threads):
    return _paddle(paths, batch, threads, _opencv)


def paddle_pillow(paths, batch, threads):
    return _paddle(paths, batch, threads, _pillow)


def _paddle(paths, batch, threads, read):
    import paddle

    class Images(paddle.io.Dataset):
        def __len__(self):
            return len(paths)

        def __getitem__(self, index):
            return read(paths[index]), np.int64(index)

    loader = paddle.io.DataLoader(
        Images(),
        batch_size=batch,
        shuffle=True,
        num_workers=threads,
        persistent_workers=True,
        return_list=True,
        places=paddle.CPUPlace(),
    )
    while True:
        for images, _ in loader:
            yield images


def torch_pillow(paths, batch, threads):
    import torch

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return len(paths)

        def __getitem__(self, index):
            return _pillow(paths[index]), index

    loader = torch.utils.data.DataLoader(
        Images(), batch, shuffle=True, num_workers=threads, persistent_workers=True
    )
    while True:
        for images, _ in loader:
            yield images


def _crop(width, height):
    """Inception's crop, as torchvision's RandomResizedCrop draws it."""
    for _ in range(10):
        area = width * height * np.random.uniform(0.08, 1)
        ratio = np.exp(np.random.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            return np.random.randint(width - w + 1), np.random.randint(height - h + 1), w, h
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side


def _opencv(path):
    import cv2

    cv2.setNumThreads(1)
    picture = cv2.imread(path)
    x, y, w, h = _crop(picture.shape[1], picture.shape[0])
    picture = cv2.resize(picture[y : y + h, x : x + w], (SIZE, SIZE))
    if np.random.rand() < 0.5:
        picture = picture[:, ::-1]
    return _normalised(picture[..., ::-1])


def _pillow(path):
    from PIL import Image

    with Image.open(path) as file:
        picture = file.convert("RGB")
    x, y, w, h = _crop(*picture.size)
    picture = picture.resize((SIZE, SIZE), Image.BILINEAR, box=(x, y, x + w, y + h))
    if np.random.rand() < 0.5:
        picture = picture.transpose(Image.FLIP_LEFT_RIGHT)
    return _normalised(np.asarray(picture))


def _normalised(picture):
    return np.ascontiguousarray(((picture - MEAN) / STD).transpose(2, 0, 1), np.float32)


def main() -> None:
    who, folder, batch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    paths = sorted(str(path) for path in Path(folder, "train").rglob("*.jpg"))
    stream = globals()[who](paths, batch, threads)

    def turn() -> float:
        for _ in range(AHEAD):
            next(stream)
        start = time.perf_counter()
        for _ in range(BATCHES):
            next(stream)
        return BATCHES * batch / (time.perf_counter() - start)

    turns.serve(turn)


if __name__ == "__main__":
    main()
