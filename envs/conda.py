#!/usr/bin/env python3
"""Write envs/<kind>/environment.yaml from the lock file beside it: conda.py KIND PYTHON.

Snakemake copies a conda file elsewhere before it uses it, so it cannot refer to the lock file and
contains all of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

HEADER = """\
# For Snakemake's own deployment of software: snakemake --software-deployment-method conda
# Written by envs/conda.py (make lock) from requirements.txt. Conda itself has not built it yet.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python ={python}
  - pip
  - pip:
      - --require-hashes
"""


def text(requirements: str, python: str) -> str:
    """The conda file for a lock file's text."""
    lines = [line for line in requirements.replace("\\\n", " ").splitlines() if line.strip()]
    packages = [" ".join(line.split()) for line in lines if not line.lstrip().startswith("#")]
    quoted = [f"      - '{package.replace(chr(39), chr(39) * 2)}'\n" for package in packages]
    return HEADER.format(python=python) + "".join(quoted)


if __name__ == "__main__":
    kind, python = sys.argv[1:]
    folder = Path(__file__).resolve().parent / kind
    lock = (folder / "requirements.txt").read_text(encoding="utf-8")
    (folder / "environment.yaml").write_text(text(lock, python), encoding="utf-8")
