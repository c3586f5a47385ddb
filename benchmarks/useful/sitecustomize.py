"""Python runs this first: it notes in the folder $USEFUL how long a program and its imports took.

Useful seconds are a program's time without its imports.
"""

import builtins
import json
import os
import pathlib
import sys
import threading
import time

_START, _PID = time.perf_counter(), os.getpid()
_import, _exit = builtins.__import__, os._exit
_importing = {"depth": 0, "seconds": 0.0}


def _timed(*arguments, **options):
    if threading.current_thread() is not threading.main_thread():
        return _import(*arguments, **options)
    _importing["depth"] += 1
    begun = time.perf_counter()
    try:
        return _import(*arguments, **options)
    finally:
        _importing["depth"] -= 1
        if not _importing["depth"]:
            _importing["seconds"] += time.perf_counter() - begun


def _note(status):
    program = pathlib.Path(sys.argv[0]).name
    if os.getpid() == _PID and program.endswith(".py"):
        wall, imports = time.perf_counter() - _START, _importing["seconds"]
        note = {"program": program, "wall_s": wall, "imports_s": imports}
        pathlib.Path(os.environ["USEFUL"], f"{_PID}.json").write_text(json.dumps(note))
    _exit(status)


if "USEFUL" in os.environ:
    builtins.__import__, os._exit = _timed, _note
