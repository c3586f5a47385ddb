"""What every loader must keep, whatever its images are read from."""

from __future__ import annotations

import numpy as np


def drain(batches):
    """The batches of an epoch, copied."""
    return [(images.copy(), positions.copy()) for images, positions in batches]


def same(a, b):
    """Whether two lists of batches hold the same images at the same positions."""
    return len(a) == len(b) and all(
        (x == u).all() and (y == v).all() for (x, y), (u, v) in zip(a, b)
    )


def require_resuming(make, cut):
    """A loader that resumes after ``cut`` steps goes on as one does that was not interrupted.

    ``make(state=…)`` is a loader.
    """
    run = make()
    stream = [*drain(run.epoch()), *drain(run.epoch())]
    other = make()
    epoch, step = divmod(cut, other.steps)
    for _ in range(epoch):
        drain(other.epoch())
    batches = other.epoch()
    for _ in range(step):
        next(batches)
    resumed = make(state=other.state())
    rest = drain(resumed.epoch(step))
    if epoch == 0:
        rest += drain(resumed.epoch())
    assert same(rest, stream[cut:])


def require_sharing(runs, batch_size):
    """Loaders that share the images see each at most once an epoch, and others in the next."""
    assert len({run.steps for run in runs}) == 1
    parts = []
    for _ in range(3):
        seen = [np.concatenate([p for _, p in run.epoch()]).tolist() for run in runs]
        together = [position for part in seen for position in part]
        assert len(together) == len(set(together)) == len(runs) * runs[0].steps * batch_size
        parts.append(seen[0])
    assert parts[0] != parts[1] != parts[2]
