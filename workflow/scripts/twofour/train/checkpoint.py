"""Training state on disk: one file per checkpoint, so that it is either whole or absent.

The file is a NumPy ``.npz`` archive: every persistable variable of the training program, the states
of the data loaders, and a JSON text with the position, the history and a fingerprint. It holds no
pickle, and the archive's CRC-32 sums find damage.
"""

from __future__ import annotations

import json
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..system.errors import TwoFourError
from ..system.files import atomic

KEPT = 2  # the newest may turn out damaged
_META, _LOADER, _VARIABLE, _RANK = "meta", "loader:", "variable:", "rank:"


@dataclass
class Checkpoint:
    """The state of a training, whatever the number of its processes.

    ``variables``, by name, are the same in all processes; ``ranks`` holds those that differ, for
    each process; ``loaders`` the opaque state of each shard's loader; ``meta`` anything that JSON
    can hold.
    """

    variables: dict[str, np.ndarray]
    ranks: list[dict[str, np.ndarray]]
    loaders: list[bytes]
    meta: dict


def save(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write the checkpoint of update ``step`` and delete all but the newest two."""
    arrays = {_VARIABLE + name: array for name, array in checkpoint.variables.items()}
    for rank, variables in enumerate(checkpoint.ranks):
        arrays.update({f"{_RANK}{rank}:{name}": array for name, array in variables.items()})
    for shard, state in enumerate(checkpoint.loaders):
        arrays[f"{_LOADER}{shard}"] = np.frombuffer(state, dtype=np.uint8)
    counts = {"ranks": len(checkpoint.ranks), "shards": len(checkpoint.loaders)}
    text = json.dumps({**checkpoint.meta, **counts})
    arrays[_META] = np.frombuffer(text.encode(), dtype=np.uint8)
    path = folder / f"step{step:09d}.npz"
    needs = sum(array.nbytes for array in arrays.values())
    with atomic(path, needs) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    for old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


class Writer:
    """Writes checkpoints in a separate thread, one at a time, so that training continues meanwhile.

    An error while writing one is raised by the next call.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Start writing ``checkpoint``, which must not be modified any more; see :func:`save`."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(step, checkpoint))
        self._thread.start()

    def wait(self) -> None:
        """Return when all is written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, step: int, checkpoint: Checkpoint) -> None:
        try:
            save(self._folder, step, checkpoint)
        except BaseException as error:  # for the thread that waits
            self._error = error


def load(path: Path) -> Checkpoint:
    """Read one checkpoint; TwoFourError if it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(arrays.pop(_META).tobytes())
        ranks: list[dict] = [{} for _ in range(meta["ranks"])]
        loaders = [arrays[f"{_LOADER}{shard}"].tobytes() for shard in range(meta["shards"])]
        for name in [name for name in arrays if name.startswith(_RANK)]:
            _, rank, variable = name.split(":", 2)
            ranks[int(rank)][variable] = arrays[name]
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
        raise TwoFourError(f"checkpoint {path} is damaged: {error}") from error
    start = len(_VARIABLE)
    variables = {name[start:]: a for name, a in arrays.items() if name.startswith(_VARIABLE)}
    return Checkpoint(variables, ranks, loaders, meta)


def latest(folder: Path, fingerprint: dict, report) -> Checkpoint | None:
    """The newest checkpoint in ``folder`` that is undamaged and has this ``fingerprint``.

    ``report`` is called with a sentence for each one that is skipped.
    """
    for path in _newest_first(folder):
        try:
            checkpoint = load(path)
        except TwoFourError as error:
            report(f"{error}; trying the one before")
            continue
        other = checkpoint.meta.get("fingerprint", {})
        differing = differences(other, fingerprint)
        if not differing:
            return checkpoint
        report(f"not resuming from {path}: it was made with other {', '.join(differing)}")
    return None


def differences(a: dict, b: dict, prefix: str = "") -> list[str]:
    """Full names of the keys in which two nested dictionaries differ."""
    names = []
    for key in sorted({*a, *b}):
        left, right = a.get(key), b.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            names += differences(left, right, f"{prefix}{key}.")
        elif left != right:
            names.append(prefix + key)
    return names


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step*.npz"), reverse=True)
