"""How programs start, and the command ``twofour``, which runs those that users call themselves.

Loads almost nothing, so that a program responds to Ctrl-C from the very start.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from .system import cli

# What users call themselves: subcommand → purpose. Each is a program in workflow/scripts.
COMMANDS = {
    "check": "judge whether the layers of model files are 2:4 sparse",
    "compare": "put finished runs side by side",
    "doctor": "compare this machine with what a configuration needs",
    "evaluate": "measure a finished model on another folder of labelled images",
    "import": "write weights of another library as a file of ours",
    "preview": "measure what a configuration will buy here, before any training",
    "predict": "classify images with a finished model",
    "verify": "see whether a release is as it was, and 2:4 sparse as certified",
}
PROGRAM_OF = {
    "compare": "compare_runs",
    "evaluate": "evaluate_folder",
    "import": "import_weights",
}  # subcommands whose program has another name
PROGRAMS = "twofour_programs"  # the name under which the folder workflow/scripts is installed


def start(
    file: str,
    description: str | None,
    arguments: Callable[[ArgumentParser], None],
    main: Callable[[Namespace], int | None],
    name: str | None = None,
) -> None:
    """Run the program in ``file``, whose stage has the same name.

    ``arguments`` adds the program's own options to the common ones; ``main`` gets them all. Does
    not return.
    """
    stage = Path(file).stem
    make = functools.partial(_parser, stage, description, arguments, name)
    cli.run(main, make)


def _parser(stage: str, description: str | None, arguments, name: str | None) -> ArgumentParser:
    from . import stages

    parser = stages.parser(description or "", stage, prog=name)
    arguments(parser)
    return parser


def programs_folder() -> Path:
    """The folder of the programs: beside this package, or where they have been installed."""
    beside = Path(__file__).resolve().parents[1]
    if (beside / "train.py").is_file():
        return beside
    found = importlib.util.find_spec(PROGRAMS)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"the package {PROGRAMS} is not installed beside twofour")
    return Path(next(iter(found.submodule_search_locations)))


def main() -> None:
    """The command ``twofour``."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in COMMANDS:
        path = programs_folder() / f"{PROGRAM_OF.get(name, name)}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        program = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(program)
        sys.argv = [str(path), *sys.argv[2:]]
        start(str(path), program.__doc__, program.arguments, program.main, f"twofour {name}")
    width = max(map(len, COMMANDS))
    lines = [f"  {command:<{width}}  {what}" for command, what in COMMANDS.items()]
    usage = "usage: twofour COMMAND …\n\n" + "\n".join(lines)
    if name in ("-h", "--help"):
        print(f"{usage}\n\nSee also: twofour COMMAND --help")
        sys.exit(0)
    print(f"{usage}\n\nerror: unknown command {name}", file=sys.stderr)
    sys.exit(2)
