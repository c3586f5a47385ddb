"""ImageNet (ILSVRC2012) as it is delivered: the official archives, and trees extracted from them.

O. Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015. The training
archive is a tar of one tar for each class, the validation archive a flat tar, whose images' labels
are in the development kit, which also holds the table of classes (synsets).
"""

from __future__ import annotations

import collections
import contextlib
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..system import lock, pool, progress
from ..system.errors import TwoFourError
from ..system.files import TEMPORARY, read_json, remove_leftovers, write_json

TRAIN_TAR, VAL_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
KIT_TAR, KIT = "ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_devkit_t12"
_META, _TRUTH = "data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt"
IMAGES = "images"  # folder beside the archives that they are extracted into
DONE = ".extracted.json"  # in that folder: the archives that were extracted in full
_CHUNK = 500  # validation images that a worker takes at a time
_PIECE = 1 << 20  # bytes


@dataclass(frozen=True)
class Class:
    """One of the classes: its WordNet id, readable names, and number of training images."""

    wnid: str
    words: str
    images: int


@dataclass(frozen=True)
class Kit:
    """The development kit: ``classes`` by their number, and the number of each validation image."""

    classes: dict[int, Class]
    truth: list[int]

    def val_class(self, name: str) -> str:
        """The WordNet id of the validation image ``name``, ILSVRC2012_val_<number>.JPEG."""
        number = PurePosixPath(name).stem.rpartition("_")[2]
        if not number.isdigit() or not 1 <= int(number) <= len(self.truth):
            raise TwoFourError(
                f"{name} is not the name of one of the {len(self.truth)} validation images; "
                "expected ILSVRC2012_val_<number>.JPEG"
            )
        return self.classes[self.truth[int(number) - 1]].wnid


def state(root: str) -> str:
    """The sizes of the archives in ``root`` as text, on which extraction rests; "" without any."""
    paths = [Path(root, name) for name in (TRAIN_TAR, VAL_TAR, KIT_TAR)]
    return " ".join(f"{path.name}:{path.stat().st_size}" for path in paths if path.is_file())


def prepare(root: str, workers: int) -> dict:
    """Make or find the tree of images for ``root``; returns what the dataset stage needs to know.

    Where ``root`` holds the archives, they are extracted into ``root``/images, unless that is done.
    Else ``root`` must be a tree itself: train/<WordNet id>/…, and val/ with or without class
    folders. The result has ``images`` (the tree's folder), ``words`` (readable names by WordNet id,
    empty without a development kit) and ``val`` (the WordNet id of each file in a flat val folder).
    """
    base = Path(root)
    if not base.is_dir():
        raise TwoFourError(f"data.root: there is no folder {root}; name the one with ImageNet")
    archives = [base / name for name in (TRAIN_TAR, VAL_TAR)]
    there = [path for path in archives if path.is_file()]
    kit = read_kit(base)
    if there:
        missing = [path.name for path in archives if path not in there]
        if missing or kit is None:
            what = missing[0] if missing else f"{KIT_TAR} (or the folder {KIT})"
            raise TwoFourError(
                f"data.root: {root} has {there[0].name} but not {what}; all three are needed"
            )
        tree = base / IMAGES
        extract(base, tree, kit, workers)
    else:
        tree = base
        if not (base / "train").is_dir():
            raise TwoFourError(
                f"data.root: {root} holds neither {TRAIN_TAR} nor a folder train; data.source "
                "ilsvrc2012 needs the official archives or what was extracted from them"
            )
    flat = _flat_val(tree, kit)
    words = {c.wnid: c.words for c in kit.classes.values()} if kit else {}
    return {"images": str(tree), "words": words, "val": flat}


def read_kit(root: Path) -> Kit | None:
    """The development kit in ``root``, as an archive or a folder; None if there is none."""
    folder, archive = root / KIT, root / KIT_TAR
    try:
        if folder.is_dir():
            meta, truth = (folder / _META).read_bytes(), (folder / _TRUTH).read_bytes()
            where = folder
        elif archive.is_file():
            with tarfile.open(archive) as tar:
                meta, truth = (_member(tar, f"{KIT}/{name}") for name in (_META, _TRUTH))
            where = archive
        else:
            return None
    except (OSError, EOFError, tarfile.TarError, KeyError) as error:
        raise TwoFourError(f"cannot read the development kit in {root}: {error}") from error
    return parse_kit(meta, truth, str(where))


def parse_kit(meta: bytes, truth: bytes, where: str) -> Kit:
    """The kit from the contents of meta.mat and of the validation ground truth."""
    from scipy import io as matlab

    try:
        synsets = matlab.loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"].reshape(-1)
        rows = [
            (int(s["ILSVRC2012_ID"]), str(s["WNID"]), str(s["words"]), int(s["num_train_images"]))
            for s in synsets
            if int(s["num_children"]) == 0  # the others are groups of classes
        ]
        numbers = [int(line) for line in truth.split()]
    except Exception as error:  # a damaged MATLAB file raises many types
        raise TwoFourError(f"the development kit {where} is damaged: {error}") from error
    classes = {number: Class(wnid, words, images) for number, wnid, words, images in rows}
    unknown = sorted(set(numbers) - set(classes))
    if unknown or not numbers:
        what = f"names a class {unknown[0]} that meta.mat lacks" if unknown else "is empty"
        raise TwoFourError(f"the development kit {where} is damaged: the ground truth {what}")
    return Kit(classes, numbers)


def extract(root: Path, tree: Path, kit: Kit, workers: int) -> None:
    """Extract the archives of ``root`` into ``tree``: train/<WordNet id>/… and val/<WordNet id>/….

    A killed extraction resumes where it stopped, and images that were removed since are extracted
    again. Every file's size and every class's number of images is checked. Raises TwoFourError for
    a damaged archive, one with members that are not plain files in its top folder, numbers that
    differ from the kit's, and if the disk has too little space.
    """
    sizes = {name: (root / name).stat().st_size for name in (TRAIN_TAR, VAL_TAR)}
    if _complete(tree, sizes, kit):  # a read-only folder may be complete, too
        return
    with lock.exclusive(tree):
        if not _complete(tree, sizes, kit):  # another process may just have done it
            _extract_all(root, tree, kit, workers, sizes)


def _complete(tree: Path, sizes: dict[str, int], kit: Kit) -> bool:
    """Whether archives of these sizes were extracted, and the numbers of images are still right."""
    try:
        if read_json(tree / DONE) != sizes:
            return False
    except TwoFourError:  # missing or damaged
        return False
    return not _difference(tree, kit)


def _difference(tree: Path, kit: Kit) -> str:
    """Where the number of images in the tree differs from the kit's; "" if it does not."""
    val = collections.Counter(kit.truth)
    for number, kind in kit.classes.items():
        for split, wanted in (("train", kind.images), ("val", val[number])):
            found = _count(tree / split / kind.wnid)
            if found != wanted:
                return f"{tree / split / kind.wnid} holds {found} images, not {wanted}"
    return ""


def _count(folder: Path) -> int:
    try:
        with os.scandir(folder) as found:
            return sum(1 for entry in found if not entry.name.startswith("."))
    except OSError:
        return 0


def _extract_all(root: Path, tree: Path, kit: Kit, workers: int, sizes: dict[str, int]) -> None:
    train = list(_classes(root / TRAIN_TAR, kit))
    val = list(_members(root / VAL_TAR, 0, sizes[VAL_TAR]))
    if len(val) != len(kit.truth):
        raise TwoFourError(
            f"{root / VAL_TAR} holds {len(val)} images, but the development kit has labels for "
            f"{len(kit.truth)}; get the archive again"
        )
    _require_space(tree, sum(sizes.values()), sum(c.images for _, c, _, _ in train) + len(val))
    tasks: list[tuple] = [
        (root / TRAIN_TAR, tree / "train" / c.wnid, c, o, s) for _, c, o, s in train
    ]
    for start in range(0, len(val), _CHUNK):
        part = [(name, kit.val_class(name), o, s) for name, o, s in val[start : start + _CHUNK]]
        tasks.append((root / VAL_TAR, tree / "val", part))
    bar = progress.bar(len(tasks), "extracting ImageNet", "part")
    with bar:
        for error in pool.ordered(_work, tasks, workers):
            if error:
                raise TwoFourError(error)
            bar.update()
    difference = _difference(tree, kit)
    if difference:
        raise TwoFourError(f"{difference}; remove what does not come from the archives")
    os.sync()  # before recording that everything is there
    write_json(tree / DONE, sizes)


def _work(task: tuple) -> str | None:
    """Extract one class or some validation images; returns the error message, if any."""
    try:
        if len(task) == 5:
            _extract_class(*task)
        else:
            archive, folder, part = task
            with archive.open("rb") as source:
                for name, wnid, offset, size in part:
                    _write(source, folder / wnid / name, offset, size, archive)
    except TwoFourError as error:
        return str(error)
    except OSError as error:
        return f"cannot extract {task[0]}: {error.strerror or error}"
    return None


def _extract_class(archive: Path, folder: Path, kind: Class, offset: int, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    count = 0
    with archive.open("rb") as source:
        for name, start, length in _members(archive, offset, size):
            _write(source, folder / name, start, length, archive)
            count += 1
    if count != kind.images:
        raise TwoFourError(
            f"{archive} holds {count} images of {kind.wnid} ({kind.words}), but the development "
            f"kit says {kind.images}; get the archive again"
        )


def _write(source, path: Path, offset: int, size: int, archive: Path) -> None:
    """Copy ``size`` bytes from ``offset`` of an open archive to ``path``, unless they are there."""
    with contextlib.suppress(OSError):
        if path.stat().st_size == size:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    source.seek(offset)
    with temporary.open("wb") as target:
        left = size
        while left:
            piece = source.read(min(left, _PIECE))
            if not piece:
                raise TwoFourError(f"{archive} ends in the middle of {path.name}; get it again")
            target.write(piece)
            left -= len(piece)
    temporary.replace(path)


def _classes(archive: Path, kit: Kit) -> Iterator[tuple[str, Class, int, int]]:
    """Name, class, offset and size of each tar in the training archive; none may be missing."""
    known = {c.wnid: c for c in kit.classes.values()}
    found = set()
    for name, offset, size in _members(archive, 0, archive.stat().st_size):
        wnid = PurePosixPath(name).stem
        if wnid not in known or not name.endswith(".tar"):
            raise TwoFourError(
                f"{archive} holds {name}, which is not a class of the development kit"
            )
        found.add(wnid)
        yield name, known[wnid], offset, size
    lacking = sorted(set(known) - found)
    if lacking:
        raise TwoFourError(
            f"{archive} lacks {len(lacking)} of {len(known)} classes, such as {lacking[0]}; get "
            "the archive again"
        )


def _members(archive: Path, offset: int, size: int) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of each file in the tar that lies at ``offset`` of ``archive``.

    Raises TwoFourError for a member that is not a plain file, or that would leave its folder.
    """
    with archive.open("rb") as file:
        try:
            with tarfile.open(fileobj=_Part(file, offset, size), mode="r:") as tar:
                seen = set()
                for member in tar:
                    name = member.name[2:] if member.name.startswith("./") else member.name
                    if member.isdir() and name in ("", "."):
                        continue
                    if not member.isfile() or not _plain(name):
                        raise TwoFourError(
                            f"{archive} holds {member.name!r}, which is not a plain file in its "
                            "top folder; this is not the official archive, so nothing of it is used"
                        )
                    if name in seen:  # which would hide that another one is missing
                        raise TwoFourError(f"{archive} holds {name} twice; get it again")
                    seen.add(name)
                    yield name, offset + member.offset_data, member.size
                    tar.members = []  # type: ignore[attr-defined]  # otherwise it keeps them all
        except (tarfile.TarError, EOFError) as error:
            raise TwoFourError(f"{archive} is damaged ({error}); get it again") from error


def _plain(name: str) -> bool:
    return name not in ("", ".", "..") and not {"/", "\\", "\0", "\n", "\r"} & set(name)


class _Part(io.RawIOBase):
    """A part of an open file as a file of its own."""

    def __init__(self, file, offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = start + position
        return self._at

    def readinto(self, buffer) -> int:
        count = max(0, min(len(buffer), self._size - self._at))
        self._file.seek(self._offset + self._at)
        got = self._file.readinto(memoryview(buffer)[:count]) if count else 0
        self._at += got
        return got


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is not a file")
    return file.read()


def _flat_val(tree: Path, kit: Kit | None) -> dict[str, str]:
    """The WordNet id of each file of a val folder without class folders; {} if it has them."""
    val = tree / "val"
    if not val.is_dir():
        raise TwoFourError(f"{tree} has a folder train but no folder val beside it")
    with os.scandir(val) as found:
        entries = [entry for entry in found if not entry.name.startswith(".")]
    files = sorted(entry.name for entry in entries if entry.is_file())
    folders = [entry.name for entry in entries if entry.is_dir()]
    if folders and files:
        raise TwoFourError(
            f"{val} holds both class folders and files, such as {files[0]}; use one of the two"
        )
    if not files:
        return {}
    if kit is None:
        raise TwoFourError(
            f"{val} has no class folders, so what its images show must come from the development "
            f"kit; put {KIT_TAR} into {tree}"
        )
    if len(files) != len(kit.truth):
        raise TwoFourError(
            f"{val} holds {len(files)} files, but the development kit names {len(kit.truth)} images"
        )
    return {name: kit.val_class(name) for name in files}


def _require_space(tree: Path, size: int, count: int) -> None:
    """Raise TwoFourError if the disk has no room for ``size`` bytes in ``count`` files.

    Files that an earlier extraction has left there are taken into account.
    """
    tree.mkdir(parents=True, exist_ok=True)
    there = number = 0
    for folder, _, names in os.walk(tree):
        for name in names:
            if name == lock.NAME:
                continue
            with contextlib.suppress(OSError):
                there += os.stat(os.path.join(folder, name)).st_size
                number += 1
    disk = os.statvfs(tree)
    free, needed = disk.f_bavail * disk.f_frsize, size - there
    if needed > free:
        raise TwoFourError(
            f"extracting ImageNet needs {needed / 1e9:.1f} GB more in {tree}, and {free / 1e9:.1f} "
            "GB are free there; make space, or move data.root to another disk"
        )
    if disk.f_files and count - number > disk.f_favail:
        raise TwoFourError(
            f"extracting ImageNet makes {count - number} more files in {tree}, but the file system "
            f"there can hold only {disk.f_favail} more; move data.root to another disk"
        )
