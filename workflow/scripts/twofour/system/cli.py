"""What every program has in common: its common options, its log, and how it ends."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from .errors import TwoFourError, telling

log = logging.getLogger("twofour")

# Set if a program must end when its parent does: to the parent's process id, or to ANY_PARENT if
# that is not known.
TIED, ANY_PARENT = "TWOFOUR_TIED", "any"
CAUSE = "TWOFOUR_CAUSE"  # set to the file in which to leave an error, for make to show it
# Set if what a job says is shown by whoever started it, from the job's log, but for warnings and
# for the messages of these programs, which are worth reading as they come.
BRIEF = "TWOFOUR_BRIEF"
SPEAKING = ("train", "prepare_dataset", "unpack_imagenet")
INTERRUPTED = 130  # exit status of a program ended by Ctrl-C (128 + SIGINT), as shells use it

_PR_SET_PDEATHSIG = 1  # prctl(2)


class Interrupted(Exception):  # noqa: N818 (it is not an error)
    """The user or the system asked to stop, and everything worth keeping has been saved.

    ``again`` says that the batch system should start the program again.
    """

    def __init__(self, message: str, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


def parser(description: str, epilog: str | None = None, **options) -> argparse.ArgumentParser:
    """A parser with the options that every program takes: --config, --log, --debug."""
    result = argparse.ArgumentParser(
        description=description,
        epilog=epilog,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        **options,
    )
    result.add_argument(
        "--config",
        metavar="FILE|JSON",
        default="{}",
        help="configuration: a YAML or JSON file, or JSON text; keys left out have their defaults",
    )
    result.add_argument("--log", metavar="FILE", help="also write the messages to this file")
    result.add_argument("--debug", action="store_true", help="show tracebacks")
    return result


def run(
    main: Callable[[argparse.Namespace], int | None],
    make_parser: Callable[[], argparse.ArgumentParser],
) -> None:
    """Parse the command line, run ``main`` and exit: 0 done, 1 an error, 130 interrupted.

    ``main`` may also return the exit status. The parser is made here, since what it needs may take
    a moment to load, during which Ctrl-C must not end in a traceback.
    """
    options = argparse.Namespace(debug=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):  # a terminal may know ASCII only
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    tied = os.environ.get(TIED)
    if tied:
        end_with_parent(signal.SIGTERM, int(tied) if tied.isdigit() else None)
    try:
        options = make_parser().parse_args()
        _start_logging(options.log)
        status = main(options) or 0
    except Interrupted as stop:
        log.error("%s", stop)
        status = INTERRUPTED
    except KeyboardInterrupt:
        log.error("interrupted")
        status = INTERRUPTED
    except TwoFourError as error:
        status = _fail(options, str(error))
    except Exception as error:
        hint = "" if options.debug else " (--debug shows where)"
        status = _fail(options, f"unexpected {type(error).__name__}: {telling(error)}{hint}")
    logging.shutdown()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Native libraries may hang or crash while the interpreter shuts down.
    os._exit(status)


def say(text: str) -> None:
    """Print ``text``; where nobody reads any more, as with ``| head``, go on without."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def end_with_parent(number: int, parent: int | None) -> None:
    """Have the kernel send signal ``number`` when the parent is gone, even if it was killed.

    ``parent`` is its process id, which shows whether it was gone already. Otherwise a training
    would go on unnoticed, beside the one that the next Snakemake starts.
    """
    with contextlib.suppress(OSError, AttributeError):  # only Linux has it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), number)


def _fail(options: argparse.Namespace, message: str) -> int:
    if options.debug:
        traceback.print_exc()
    if path := os.environ.get(CAUSE):
        with contextlib.suppress(OSError):
            Path(path).write_text(message, encoding="utf-8")
            return 1
    log.error("error: %s", message)
    return 1


def _start_logging(path: str | None) -> None:
    log.setLevel(logging.INFO)
    logging.raiseExceptions = False  # a full disk must not also fill the screen with tracebacks
    log.propagate = False
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(console)
    if path is None:
        faulthandler.enable()
        return
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"")
        # Appending, since what else is written to the file below must not be overwritten.
        file = logging.FileHandler(path, mode="a", encoding="utf-8")
    except OSError as error:
        raise TwoFourError(f"--log: cannot write {path}: {error.strerror or error}") from error
    if os.environ.get(BRIEF):
        lowest = logging.INFO if Path(sys.argv[0]).stem in SPEAKING else logging.WARNING
        console.addFilter(lambda record: lowest <= record.levelno < logging.ERROR)
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(file)
    assert file.stream is not None  # only a handler with delay=True has none
    if os.environ.get(BRIEF):  # tables, and what libraries print
        sys.stdout.flush()
        os.dup2(file.stream.fileno(), sys.stdout.fileno())
    faulthandler.enable(file.stream)
