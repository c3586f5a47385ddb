#!/usr/bin/env python3
"""Write down what the bindings of a release of TensorRT offer: record.py WHEEL FILE.json

    pip download --no-deps tensorrt-cu12-bindings==10.16.1.11
    python record.py tensorrt_cu12_bindings-10.16.1.11-cp311-*.whl 10.16.1.11.json

with the Python that the wheel is for (8.5.3.1, whose wheel is called tensorrt, has 3.10). The
stand-ins of the tests may only have what these files list, so they cannot know a name that the
real library lacks. TensorRT itself is not needed, nor a GPU: the bindings' own module says what it
has, and the few functions that it takes from TensorRT's libraries are replaced by empty ones, for
which a C compiler and nm are needed.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# What our code uses, or gets from what it uses.
CLASSES = (
    *("Builder", "IBuilderConfig", "IOptimizationProfile", "INetworkDefinition", "ITensor"),
    *("OnnxParser", "ParserError", "Runtime", "ICudaEngine", "IExecutionContext"),
    *("EngineInspector", "ITimingCache", "IHostMemory", "ILogger", "IProfiler", "BuilderFlag"),
    *("NetworkDefinitionCreationFlag", "TensorIOMode", "ProfilingVerbosity"),
    "LayerInformationFormat",
)


def main(wheel: str, out: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (n for n in archive.namelist() if n.endswith("/tensorrt.so"))
            library = Path(archive.extract(member, folder))  # alone: others are beside it in 8.5
        if len(sys.argv) == 3:  # the libraries are looked for when a process starts
            _write_libraries(library, Path(folder))
            command = ["env", f"LD_LIBRARY_PATH={folder}", sys.executable, __file__, wheel, out]
            subprocess.run([*command, "again"], check=True)
            return
        sys.path.insert(0, str(library.parent))
        module = importlib.import_module("tensorrt")
        version = re.search(r"-(\d[\d.]*)-", Path(wheel).name)[1]
        found = {"version": version, **{name: _members(module, name) for name in CLASSES}}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in found.items()]
    Path(out).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _members(module, name: str) -> dict:
    """{name: the parameters of each of its signatures, or None for what is not called}."""
    kind = getattr(module, name)
    return {
        member: _signatures(getattr(kind, member))
        for member in dir(kind)
        if not member.startswith("__") or member == "__init__"
    }


def _signatures(member) -> list[list[str]] | None:
    """The parameters without self and types; one with a default ends in "="."""
    if not callable(member):
        return None
    found = []
    for line in (member.__doc__ or "").splitlines():
        match = re.match(r"(?:\d+\. )?\w+\((.*)\)(?: ->.*)?$", line.strip())
        if match:
            parts = re.split(r", (?=\*{0,2}\w+(?::|,|$))", match[1])
            names = [re.match(r"\*{0,2}\w*", part)[0] for part in parts]
            ends = ["=" if " = " in part else "" for part in parts]
            found.append([n + e for n, e in zip(names, ends, strict=True) if n not in ("", "self")])
    return found


def _write_libraries(library: Path, folder: Path) -> None:
    """Empty libraries with the functions that the bindings need and no other library has."""
    listed = _said("nm", "-D", "--undefined-only", library)
    known = r"Py|_Py|_Unwind|_ITM|__g|__cxa|_ZN?K?S|_ZT|_Zn|_Zd|dl"
    names = [
        line.split()[-1]
        for line in listed.splitlines()
        if "@" not in line and not re.match(known, line.split()[-1])
    ]
    source = folder / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in names))
    for needed in re.findall(r"\[(libnv[\w.]+)\]", _said("readelf", "-d", library)):
        command = ["cc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{needed}", str(source)]
        subprocess.run([*command, "-o", str(folder / needed)], check=True)


def _said(*command) -> str:
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(*sys.argv[1:3])
