"""Reading and writing files: no half-written file ever has a final name."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import TwoFourError

PathLike = str | Path
TEMPORARY = ".tmp-"  # how names of half-written files begin


@contextmanager
def atomic(path: PathLike, needs: int = 0) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    The rename happens after the data have reached the disk, so that a crash leaves either the old
    file or the new one. Raises TwoFourError if the folder cannot be written or the disk is full;
    with ``needs``, the number of bytes that will be written, before anything is.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if needs > _free(path.parent):
            raise OSError(errno.ENOSPC, "")
        # The suffix is kept: some libraries choose the format by it.
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise TwoFourError(f"cannot write {path}: {_reason(error, path, needs)}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def require_writable(path: PathLike) -> None:
    """Raise TwoFourError if the file ``path`` cannot be written, before long work."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
    except OSError as error:
        raise TwoFourError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def scratch(folder: PathLike) -> Iterator[Path]:
    """A temporary folder inside ``folder``, for libraries that write files of their own.

    Raises TwoFourError if they fail because the disk is full.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=folder) as name:
            try:
                yield Path(name)
            except TwoFourError:
                raise
            except Exception as error:
                if _free(folder) < 1 << 20:  # libraries report a full disk in words of their own
                    raise OSError(errno.ENOSPC, "") from error
                raise
    except OSError as error:
        raise TwoFourError(f"cannot write {folder}: {_reason(error, folder, 0)}") from error


def remove_leftovers(folder: PathLike) -> None:
    """Delete what a killed process left half-written in ``folder``, where nobody else writes."""
    for path in Path(folder).glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def _reason(error: OSError, path: Path, needs: int) -> str:
    """Why a file could not be written, with what to do where that is not obvious."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error.strerror or str(error)
    free = _free(path.parent) / 1e6
    wanted = f"needs {needs / 1e6:.1f} MB" if needs else "needs more"
    return (
        f"the disk is full: the file {wanted}, and {free:.1f} MB are free there; make space and "
        "run the same command again"
    )


def _free(folder: Path) -> int:
    """Bytes that this user may still write on the file system of ``folder``."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: PathLike, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    content = text.encode("utf-8")
    with atomic(path, len(content)) as temporary:
        temporary.write_bytes(content)


def write_json(path: PathLike, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_text(path: PathLike) -> str:
    """Read a UTF-8 file; TwoFourError if it is missing or not text."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise TwoFourError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise TwoFourError(f"cannot read {path}: {error}") from error


def read_json(path: PathLike) -> Any:
    """Read a JSON file; TwoFourError if it is missing or damaged."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise TwoFourError(f"{path} is not valid JSON: {error}") from error


def read_arrays(path: PathLike, *names: str) -> dict[str, Any]:
    """The arrays of an ``.npz`` file, by name.

    Raises TwoFourError if it is missing or damaged, or lacks one of ``names``.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TwoFourError(f"cannot read {path}: {error}") from error
    for name in names:
        if name not in arrays:
            raise TwoFourError(f"cannot read {path}: it has no {name}")
    return arrays


def sha256(path: PathLike) -> str:
    """Hex SHA-256 of a file's content, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise TwoFourError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()
