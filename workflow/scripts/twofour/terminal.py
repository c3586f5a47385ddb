"""What a run shows in the terminal: a line for each job, and at the end the verdict or the cause.

Snakemake hands its messages to the logger plugin ``twofour``, which is this module. Its own blocks
are shown with --printshellcmds, --verbose or --debug-dag, and are in its log file in any case.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from .system import cli, memory

ANNOUNCED_S = 5  # after this time a running job is announced; those that speak, at once
STOPPED = "stopped; finished jobs are kept, and the same command goes on from there"
TARGETS = ("all", "preview")  # rules that only say what is wanted
VERDICT = "TWOFOUR_VERDICT"  # environment variable: file to show after a whole run

# What Snakemake says about itself.
_CHATTER = re.compile(
    "|".join(
        (
            "Config file .* is extended by",
            "Using workflow specific profile",
            "Assuming unrestricted shared filesystem",
            "Building DAG of jobs",
            "Updating checkpoint dependencies",
            "DAG of jobs will be updated",
            "Using shell: ",
            "Provided ",
            "Rules claiming more threads",
            "Group jobs: inactive",
            "Conda environments: ignored",
            "Singularity containers: ignored",
            "Select jobs to execute",
            "Execute ",
            "Shutting down, this might",
            "Exiting because a job execution failed",
            "Terminating processes on user request",
            "Complete log",
            "Elapsed time",
            "Processed ",
            "Reasons:",
            "Some jobs were triggered by provenance",
            "Rules with provenance triggered",
            "This was a dry-run",
            "The run involves checkpoint jobs",
            "Removing output files of failed job",
            "At least one job did not complete",
            "host: ",
            "\\s*$",
        )
    )
)
_REASONS = {
    "Missing output files": "its results are missing",
    "Params have changed since last execution": "its parameters or code have changed",
    "Code has changed since last execution": "its rule has changed",
    "Set of input files has changed since last execution": "it reads other files now",
    "Updated input files": "what it reads has changed",
    "Input files updated by another job": "what it reads is made again",
}
_TIME = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
_PLACE = re.compile(r'^\w+( in (rule \w+ in )?file ".*", line \d+)?:?$|^  File ".*", line \d+')
_TOLD = ("WorkflowError", "RuleException", "CliException", "ApiError")  # whose words say it all
_TAIL = 1 << 16  # bytes of a log that are looked at


@dataclass
class _Job:
    name: str
    logs: list[str]
    command: str = ""
    started: float = field(default_factory=time.time)
    announcer: threading.Timer | None = None
    cause: str = ""
    oom_kills: int | None = field(default_factory=memory.oom_kills)


@dataclass
class Screen:
    """The lines of a run, written to ``stream``, which shows ``columns`` characters a line.

    ``dry`` in a dry run; ``brief`` leaves out the jobs, ``silent`` everything but errors.
    """

    stream: TextIO
    columns: int
    dry: bool = False
    brief: bool = False
    silent: bool = False
    jobs: dict[int, _Job] = field(default_factory=dict)
    failed: dict[int, _Job] = field(default_factory=dict)  # and not run again since
    errors: list[str] = field(default_factory=list)  # of Snakemake itself
    endings: list[str] = field(default_factory=list)  # of programs whose jobs have yet to fail
    stopped: bool = False
    complete: bool = False
    cause_file: Path | None = None

    def write(self, line: str) -> None:
        """Write a line, over a progress bar that a program may be showing."""
        clear = "\r\033[K" if self.stream.isatty() else ""
        with contextlib.suppress(BrokenPipeError):
            self.stream.write(f"{clear}{line}\n")
            self.stream.flush()

    def _write_job(self, line: str) -> None:
        if not (self.brief or self.silent):
            self.write(line)

    def begin(self, number: int, name: str, logs: list[str], reason: str, command: str) -> None:
        """A job has been handed over to be run; in a dry run, it would be."""
        if self.dry:
            if name not in TARGETS:
                self._write_job(self._cut(f"{name}: {because(reason)}" if reason else name))
            return
        self.failed.pop(number, None)  # it is tried again
        job = self.jobs[number] = _Job(name, logs, command)
        if name.startswith(cli.SPEAKING):
            self._write_job(f"{_clock(job.started)} {name}")
        elif name not in TARGETS:
            job.announcer = threading.Timer(ANNOUNCED_S, self._announce, (job,))
            job.announcer.daemon = True
            job.announcer.start()

    def _announce(self, job: _Job) -> None:
        self._write_job(f"{_clock(job.started)} {job.name} …")

    def finish(self, number: int) -> None:
        """A job is done."""
        job = self._take(number)
        if job is None:
            return
        if job.name in TARGETS:
            self.complete = True
            return
        told = "" if job.name.startswith(cli.SPEAKING) else last_message(job.logs)
        self._write_job(self._cut(self._span(job) + (f": {told}" if told else "")))

    def fail(self, number: int, name: str, logs: list[str], told: str, command: str) -> None:
        """A job has failed; ``told`` is what Snakemake knows about it."""
        job = self._take(number) or _Job(name, logs, command)
        job.logs = logs or job.logs
        mine = next((text for text in self.endings if job.command and job.command in text), "")
        if mine:
            self.endings.remove(mine)
        job.cause = cause(job.logs) or ended(mine, job) or told
        self.failed[number] = job
        if not self.stopped:
            why = f" ({plain(told, '')})" if told else ""  # of a batch system: its time was over …
            where = f"; its log: {job.logs[0]}" if job.logs else ""
            self.write(f"{self._span(job)} failed{why}{where}")

    def _take(self, number: int) -> _Job | None:
        job = self.jobs.pop(number, None)
        if job is not None and job.announcer is not None:
            job.announcer.cancel()
        return job

    def error(self, text: str, kind: str) -> None:
        """An exception of the type ``kind``: of a job's program, or of Snakemake's own."""
        if "CalledProcessError" in text:  # said before or after the job's error
            for job in self.failed.values():
                if not job.cause and job.command and job.command in text:
                    job.cause = ended(text, job)
                    return
            self.endings.append(text)
        elif not _CHATTER.match(words := plain(text, kind)):
            self.errors.append(words)

    def end(self) -> bool:
        """The end of the run: its cause as the last line if it did not succeed; whether it did not.

        Make shows the cause of an error itself, if it is left in ``cause_file``.
        """
        if self.complete:  # whatever failed was tried again
            return False
        for number in list(self.jobs):
            self._interrupt(number)
        told = [job for job in self.failed.values() if job.cause]
        if self.stopped:
            saved = [job.cause for job in told if job.cause.startswith("stopped")]
            last = saved[-1] if saved else STOPPED
        elif told:  # others of a group did not come to run
            last = self._last_of(f"{job.name}: {job.cause}" for job in reversed(told))
        elif self.errors:
            last = self._last_of(dict.fromkeys(self.errors))
        elif self.failed:
            last = self._last_of(
                f"{job.name} failed without a message"
                + (f"; its log: {job.logs[0]}" if job.logs else "")
                for job in reversed(self.failed.values())
            )
        else:
            return False
        words = last.removeprefix("error: ")
        if self.cause_file is None or self.stopped:
            self.write(last)
        elif words.startswith("stopped"):  # with Ctrl-C, which ends make at once
            self.write(words)
        else:
            with contextlib.suppress(OSError):
                self.cause_file.write_text(words.rstrip("."), encoding="utf-8")
        return True

    def _last_of(self, errors: Iterable[str]) -> str:
        """Show all ``errors`` but the last one, and return that."""
        *others, last = (f"error: {error}" for error in errors)
        for line in others:
            self.write(line)
        return last

    def _interrupt(self, number: int) -> None:
        job = self._take(number)
        if job is not None and job.name not in TARGETS:
            job.cause = cause(job.logs)
            self.failed[number] = job

    def _span(self, job: _Job) -> str:
        now = time.time()
        return f"{_clock(job.started)}–{_clock(now)} {seconds(now - job.started):>6}  {job.name}"

    def _cut(self, line: str) -> str:
        return line if len(line) <= self.columns else line[: self.columns - 1] + "…"


def ended(text: str, job: _Job) -> str:
    """How the program of ``job`` ended that could not say so itself, by Snakemake's ``text``."""
    if "SIGKILL" in text or "exit status 137" in text:
        return memory.killed_by(job.oom_kills, job.name.startswith("train_"))
    found = re.search(r"died with <Signals\.(\w+)|non-zero exit status (\d+)", text)
    if found is None:
        return plain(text, "RuleException") if text else ""
    return f"it ended with {found[1] or 'exit status ' + found[2]} and left no message"


def _clock(when: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(when))


def seconds(duration: float) -> str:
    """A duration with its unit: 4.1 s, 75 s, 2:05 h."""
    if duration < 10:
        return f"{duration:.1f} s"
    if duration < 3600:
        return f"{duration:.0f} s"
    minutes = round(duration / 60)
    return f"{minutes // 60}:{minutes % 60:02d} h"


def because(reason: str) -> str:
    """Snakemake's reason for a job without the values and files that follow it."""
    known = [words for said, words in _REASONS.items() if said in reason]
    return " and ".join(known) or re.split("[:;]", reason)[0].strip()


def plain(text: str, kind: str) -> str:
    """The message of an exception of the type ``kind``, on one line.

    What Snakemake and we raise ourselves needs neither type nor place; a fault in a rule does.
    """
    if kind == "LockException":
        return (
            "the folder is locked, by another run or by one that was killed; if none is running, "
            "make unlock (snakemake --unlock) frees it"
        )
    if "Traceback (most recent call last)" in text:
        return text.strip().splitlines()[-1]
    lines = [line for line in text.splitlines() if not _PLACE.match(line)]
    if kind and kind not in _TOLD:
        lines.insert(0, text.splitlines()[0])
    words = " ".join(" ".join(lines).split())
    return words.removeprefix("Error: ") or " ".join(text.split())


def _messages(log: str) -> list[str]:
    """What a program said in its log, without the times, and without what libraries printed."""
    return [_TIME.sub("", line) for line in _lines(log) if _TIME.match(line)]


def _lines(log: str) -> list[str]:
    try:
        with Path(log).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return text.splitlines()


def last_message(logs: Iterable[str]) -> str:
    """The last thing that a program said in its log, without the path that it is about."""
    said = [line for log in logs for line in _messages(log)]
    return re.sub(r"^results/\S+: ", "", said[-1].strip()) if said else ""


def cause(logs: Iterable[str]) -> str:
    """The last message in the logs that says why the program ended, or an empty text."""
    for log in logs:
        for line in reversed(_lines(log)):
            said = _TIME.sub("", line)
            if said.startswith("error: "):
                return said.removeprefix("error: ")
            if said.startswith(("Fatal Python error", "stopped", "interrupted")):
                return said
    return ""


class LogHandler(LogHandlerBase):
    """The plugin: Snakemake's messages as lines of a :class:`Screen`."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see twofour.snakemake
            signal.signal(signal.SIGINT, signal.default_int_handler)
        settings = self.common_settings
        self.planned, self.closed = 0, False
        self.whole = settings.printshellcmds or settings.verbose or settings.debug_dag
        stream = sys.stdout if settings.stdout else sys.stderr
        columns = shutil.get_terminal_size((100, 24)).columns
        quiet = {str(getattr(what, "name", what)).lower() for what in settings.quiet or ()}
        cause = os.environ.pop(cli.CAUSE, None)  # not for the jobs, of which many may fail
        self.screen = Screen(
            stream,
            columns,
            settings.dryrun,
            bool(quiet & {"rules", "progress"}),
            "all" in quiet,
            cause_file=Path(cause) if cause else None,
        )
        if not self.whole:
            os.environ[cli.BRIEF] = "1"  # for the programs, whose messages are told here

    def emit(self, record: logging.LogRecord) -> None:
        """Show a message, or note it for later."""
        try:
            if self.whole:
                self._show_whole(record)
            self._note(record)
        except Exception:
            self.handleError(record)

    def _show_whole(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if event == LogEvent.SHELLCMD and not self.common_settings.printshellcmds:
            return
        if event == LogEvent.DEBUG_DAG and not self.common_settings.debug_dag:
            return
        text = self.format(record)
        if text and text != "None":
            self.screen.write(text)

    def _note(self, record: logging.LogRecord) -> None:
        event, facts = getattr(record, "event", None), record.__dict__
        if event == LogEvent.JOB_INFO:
            job = _name(facts["rule_name"], facts["wildcards"])
            command = facts.get("shellcmd") or ""
            self.screen.begin(facts["jobid"], job, list(facts["log"]), facts["reason"], command)
        elif event == LogEvent.JOB_FINISHED:
            self.screen.finish(facts["job_id"])
        elif event == LogEvent.JOB_ERROR:
            name, told = facts["rule_name"], facts["rule_msg"] or ""
            command = facts.get("shellcmd") or ""
            self.screen.fail(facts["jobid"], name, list(facts["log"]), told, command)
        elif event == LogEvent.ERROR:
            self.screen.error(record.getMessage(), facts.get("exception", ""))
        elif event == LogEvent.RUN_INFO:
            if not (self.whole or self.planned or self.screen.brief or self.screen.silent):
                stats = facts.get("stats") or {}  # said again at the end of a dry run
                self.planned = stats.get("total", 0) - sum(stats.get(t, 0) for t in TARGETS)
                self.screen.write(f"jobs: {self.planned}")
        elif event is None and record.msg:
            self._message(record)

    def _message(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("Terminating processes on user request"):
            self.screen.stopped = True
        if text.startswith("Nothing to be done"):
            self.screen.complete = True
        if self.whole or record.levelno < logging.INFO or _CHATTER.match(text):
            return
        if record.levelno >= logging.ERROR:
            self.screen.errors.append(plain(text, ""))
        elif not self.screen.silent:
            self.screen.write(text)

    def close(self) -> None:
        """Snakemake has ended: show the verdict, or the cause as the last line."""
        if self.closed:
            return
        self.closed = True
        failed = self.screen.end()
        verdict = os.environ.get(VERDICT)
        wanted = self.screen.complete and not (self.screen.dry or self.screen.silent)
        if wanted and verdict and not failed:
            with contextlib.suppress(OSError):
                self.screen.write(Path(verdict).read_text(encoding="utf-8").rstrip())
        super().close()


def _name(rule: str, wildcards: Mapping[str, Any]) -> str:
    values = [str(value).strip("/") for value in wildcards.values()]
    return " ".join([rule, *filter(None, values)])
