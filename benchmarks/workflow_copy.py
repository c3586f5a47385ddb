"""A copy of the workflow without any results, to run it in."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import turns

REPOSITORY = turns.HERE.parent
PARTS = ("Snakefile", "workflow", "config", "envs", "profiles")
SNAKEMAKE = Path(sys.executable).parent / "snakemake"


def make(folder: Path) -> Path:
    """Create ``folder`` and copy into it what a run needs."""
    folder.mkdir()
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return folder
