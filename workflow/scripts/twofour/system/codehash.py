"""Which source files decide what a stage makes, and a hash of them.

Snakemake reruns a job when its parameters change. A hash of a program and of the modules it
imports, as a parameter, reruns exactly the stages whose code changed. The same hash is part of a
training's fingerprint, so that a checkpoint of other code is not resumed.

Modules that do not affect what is made are left out, with whatever only they import: see
:data:`PLUMBING`. Every other module counts as soon as it is imported.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import re
from fnmatch import fnmatchcase
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
SCRIPTS = PACKAGE.parent

# Logs, progress bars, processes, signals, caches, messages, and declarations whose values reach the
# stages as parameters. Patterns of module names; DECIDING lists exceptions.
PLUMBING = (
    "system.*",
    "*.settings",
    "command",
    "config",
    "stages",
    "artifacts",
    "data.culprit",
    "data.records",
    "train.board",
    "train.checkpoint",
    "train.display",
    "train.estimate",
    "train.footprint",
    "train.health",
    "train.launch",
    "train.run",
    "train.stopping",
)
DECIDING = ("system.libraries", "system.patterns")  # of those that PLUMBING covers

# Lines that look like an import; this runs at each start of Snakemake, and parsing whole files is
# slow.
_IMPORT = re.compile(
    r"^[ \t]*((?:from[ ]+[.\w]+[ ]+)?import[ ]+(?:\([^)]*\)|[^\n]+))", re.MULTILINE
)


@functools.cache
def decides(module: str) -> bool:
    """Whether a module ("train.loop", "" being the package) decides what the stages make."""
    if module in DECIDING:
        return True
    if "." not in module and (PACKAGE / module).is_dir():  # a subpackage's own docstring
        return False
    return not any(fnmatchcase(module, pattern) for pattern in PLUMBING)


@functools.cache
def digest(*roots: str | Path) -> str:
    """Hash of the files :func:`closure` finds for ``roots``."""
    result = hashlib.sha256()
    for name, path in closure(*roots).items():
        result.update(name.encode())
        result.update(_of_module(path) if path.is_relative_to(PACKAGE) else _of_files([path]))
    return result.hexdigest()[:16]


def closure(*roots: str | Path) -> dict[str, Path]:
    """{name: file} of ``roots`` and of every deciding module that they import, however indirectly.

    A root is the path of a program or the name of a module of this package ("train.loop").
    """
    found: dict[str, Path] = {}
    pending: list[tuple[str, Path | None]] = [
        (root.name, root) if isinstance(root, Path) else (root, file_of(root)) for root in roots
    ]
    while pending:
        name, path = pending.pop()
        if path is None:
            raise ValueError(f"{name} is not a module of {PACKAGE.name}")
        if name not in found:
            found[name] = path
            pending += [(module, file_of(module)) for module in imports(path) if decides(module)]
    return dict(sorted(found.items()))


@functools.cache  # many stages share their modules
def _of_module(path: Path) -> bytes:
    return _of_files([path, *_beside(path)])


def _of_files(paths: list[Path]) -> bytes:
    return b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)


def _beside(path: Path) -> list[Path]:
    """Files that belong to a module: report.html.j2 to report.py."""
    return sorted(p for p in path.parent.glob(f"{path.stem}.*") if p.suffix not in (".py", ".pyc"))


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Names of the modules of this package that the file imports, also inside functions."""
    inside = path.is_relative_to(PACKAGE)
    here = (PACKAGE.name, *path.parent.relative_to(PACKAGE).parts) if inside else ()
    names: set[tuple[str, ...]] = set()
    for node in _import_statements(path.read_text(encoding="utf-8")):
        if isinstance(node, ast.Import):
            names.update(tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            names.add(base)
            names.update((*base, alias.name) for alias in node.names)
    ours = {".".join(name[1:]) for name in names if name and name[0] == PACKAGE.name}
    return tuple(sorted(m for m in ours if (file := file_of(m)) and file != path))


def _import_statements(text: str) -> list[ast.stmt]:
    found: list[ast.stmt] = []
    for line in _IMPORT.findall(text):
        with contextlib.suppress(SyntaxError):  # a sentence in a docstring
            found += ast.parse(line).body
    return found


@functools.cache
def file_of(module: str) -> Path | None:
    """The file of a module of this package, "" being the package; None if there is none."""
    base = PACKAGE.joinpath(*module.split(".")) if module else PACKAGE
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
