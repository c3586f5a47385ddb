"""Layers of the package: what may import what, and that importing has no side effects."""

import ast
import subprocess
import sys

from twofour.system import codehash

import pytest

# Each may import those before it; artifacts and models only define names. TOP combines them all.
ORDER = (
    *("system", "artifacts", "models", "network", "data", "sparse", "quantization", "train"),
    *("deploy", "report"),
)
TOP = {"config", "stages", "doctor", "command", "pages", "terminal", "snakemake"}
MODULES = sorted(
    ".".join(path.relative_to(codehash.PACKAGE).with_suffix("").parts)
    for path in codehash.PACKAGE.rglob("*.py")
)


def room(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_is_in_a_room():
    assert {room(m) for m in MODULES} == {*ORDER, *TOP, "__init__"}


@pytest.mark.parametrize("name", ORDER)
def test_a_room_uses_only_those_below_it(name):
    allowed = {*ORDER[: ORDER.index(name) + 1], ""}
    for module in MODULES:
        if room(module) == name:
            used = codehash.imports(codehash.file_of(module.removesuffix(".__init__")))
            assert {room(m) for m in used} <= allowed, module


def test_imports_go_round_in_no_circle():
    known = [m.removesuffix(".__init__") for m in MODULES if m != "__init__"]
    uses = {
        m: {u for u in codehash.imports(codehash.file_of(m)) if u and not m.startswith(f"{u}.")}
        for m in known
    }
    # A package's own __init__ may import its modules, and these their siblings.
    packages = {m for m in known if any(other.startswith(f"{m}.") for other in known)}
    waiting = {m: used - packages - {m} for m, used in uses.items()}
    while waiting:
        free = {m for m, used in waiting.items() if not used & set(waiting)}
        assert free, sorted(waiting)
        waiting = {m: used for m, used in waiting.items() if m not in free}


def test_a_module_does_nothing_when_it_is_loaded():
    """Module level has only docstring, imports, names, functions, classes, loops for tables."""
    harmless = (
        *(ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign),
        *(ast.For, ast.If),
    )
    for module in MODULES:
        path = codehash.file_of(module.removesuffix(".__init__").removesuffix("__init__"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            assert docstring or isinstance(node, harmless), f"{module}, line {node.lineno}"


def test_the_configuration_loads_no_heavy_library():
    """Every program loads it, and so does every start of Snakemake."""
    heavy = ("paddle", "nvidia.dali", "pandas", "matplotlib", "onnx", "onnxruntime", "openvino")
    code = f"import sys, twofour.stages; print([n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
