"""Which source files a program consists of, and a hash of them.

Snakemake reruns a job when its parameters change. A hash of the content of the program and of the
modules it imports, as a parameter, reruns exactly the stages whose code changed.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
SCRIPTS = PACKAGE.parent
# Lines that look like an import; Snakemake asks at each start, and whole files take long to parse.
_IMPORT = re.compile(
    r"^[ \t]*((?:from[ ]+[.\w]+[ ]+)?import[ ]+(?:\([^)]*\)|[^\n]+))", re.MULTILINE
)


@functools.cache
def digest(script: str, *extra: str) -> str:
    """Hash of ``script`` (a file name in workflow/scripts) and all it imports of this package.

    ``extra`` names modules that it loads at run time ("deploy.onnxruntime").
    """
    result = hashlib.sha256()
    for path in closure(SCRIPTS / script, *extra):
        result.update(path.relative_to(SCRIPTS).as_posix().encode())
        result.update(hashlib.sha256(path.read_bytes()).digest())
    return result.hexdigest()[:16]


def closure(script: Path, *extra: str) -> list[Path]:
    """``script``, the modules ``extra``, and every module of this package that they import."""
    pending = [script, *(_file(name) for name in extra)]
    found: set[Path] = set()
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending += _imports(path)
    return sorted(found)


@functools.cache
def _imports(path: Path) -> tuple[Path, ...]:
    """Files of this package that the file imports, also inside functions."""
    here = path.parent.relative_to(SCRIPTS).parts  # ("twofour", "deploy")
    names: set[tuple[str, ...]] = set()
    for node in _import_statements(path.read_text(encoding="utf-8")):
        if isinstance(node, ast.Import):
            names.update(tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            names.add(base)
            names.update((*base, alias.name) for alias in node.names)
    ours = {_file(".".join(name[1:])) for name in names if name and name[0] == PACKAGE.name}
    return tuple(sorted(p for p in ours if p and p != path))


def _import_statements(text: str) -> list[ast.stmt]:
    found = []
    for line in _IMPORT.findall(text):
        with contextlib.suppress(SyntaxError):  # a sentence in a docstring
            found += ast.parse(line).body
    return found


def _file(module: str) -> Path | None:
    """The file of a module of this package, "" being the package; None if it is no module."""
    base = PACKAGE.joinpath(*module.split(".")) if module else PACKAGE
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
