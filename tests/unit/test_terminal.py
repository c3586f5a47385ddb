"""What a run shows in the terminal."""

import io
import logging
import os
import signal
import time
from types import SimpleNamespace

from twofour import terminal
from twofour.system import cli, memory
from twofour.terminal import LogHandler

import pytest
from snakemake_interface_logger_plugins.common import LogEvent


def called(rule, how):
    """What Snakemake says when the program of a job ends with an error."""
    command = f"set -euo pipefail; exec sh start.sh {rule}"
    return f"RuleException:\nCalledProcessError in file x, line 3:\nCommand '{command}' {how}"


class Run:
    """Snakemake's messages of a run, and the lines that they become."""

    def __init__(self, folder, **settings):
        given = {"printshellcmds": False, "verbose": False, "debug_dag": False}
        given |= {"stdout": False, "dryrun": False, "quiet": None, **settings}
        self.handler = LogHandler(SimpleNamespace(**given), None)
        self.stream = self.handler.screen.stream = io.StringIO()
        self.handler.screen.columns = 80
        self.folder = folder

    def say(self, text, level=logging.INFO, **facts):
        record = logging.makeLogRecord({"msg": text, "levelno": level, **facts})
        self.handler.emit(record)

    def begin(self, number, rule, *values, said="", reason="Params have changed: before …"):
        log = self.folder / f"{rule}.log"
        if said is not None:
            log.write_text(said)
        facts = {"jobid": number, "rule_name": rule, "log": [str(log)], "reason": reason}
        facts["shellcmd"] = f"exec sh start.sh {rule}"
        wildcards = {str(i): value for i, value in enumerate(values)}
        self.say("", event=LogEvent.JOB_INFO, wildcards=wildcards, **facts)

    def fail(self, number, rule, told=""):
        facts = {"rule_name": rule, "log": [str(self.folder / f"{rule}.log")], "rule_msg": told}
        facts["shellcmd"] = f"exec sh start.sh {rule}"
        self.say("", logging.ERROR, event=LogEvent.JOB_ERROR, jobid=number, **facts)

    def error(self, text, kind="RuleException"):
        self.say(text, logging.ERROR, event=LogEvent.ERROR, exception=kind)

    def finish(self, number):
        self.say("", event=LogEvent.JOB_FINISHED, job_id=number)

    def lines(self):
        self.handler.close()
        return self.stream.getvalue().splitlines()


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name in (cli.BRIEF, cli.CAUSE, terminal.VERDICT):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return lambda **settings: Run(tmp_path, **settings)


def logged(*messages):
    return "".join(f"2026-01-02 03:04:05 {message}\n" for message in messages)


def test_a_job_is_one_line_with_the_last_thing_it_said(run):
    ran = run()
    ran.say("", event=LogEvent.RUN_INFO, stats={"evaluate": 1, "all": 1, "total": 2})
    said = logged("first", "top-1 98.01 % of 352 images") + "printed by a library\n"
    ran.begin(1, "evaluate", "/mask_2d_best", "paddle", said=said)
    ran.finish(1)
    total, line = ran.lines()
    assert total == "jobs: 1"
    assert line[8] == "–" and "  0.0 s  evaluate mask_2d_best paddle: top-1 98.01 %" in line
    assert len(line) == 80 and line.endswith("…")


def test_trainings_and_long_jobs_are_announced(run, monkeypatch):
    monkeypatch.setattr(terminal, "ANNOUNCED_S", 0.05)
    ran = run()
    ran.begin(1, "train_dense", said=logged("epoch 1/1: …"))
    ran.begin(2, "benchmark", "paddle")
    for _ in range(100):
        if "benchmark paddle …" in ran.stream.getvalue():
            break
        time.sleep(0.05)
    ran.finish(1)
    ran.finish(2)
    start, announced, end, _ = ran.lines()
    assert start[9:] == "train_dense" and announced[9:] == "benchmark paddle …"
    assert end.endswith("  train_dense")  # which has told about itself already


def test_snakemakes_own_chatter_is_left_out_and_anything_else_shown(run):
    ran = run()
    for text in ("Building DAG of jobs...", "Select jobs to execute...", "Elapsed time: 0:00:01"):
        ran.say(text)
    ran.say("Unlocked working directory.")
    ran.say("a warning", logging.WARNING)
    ran.say("details", logging.DEBUG)
    assert ran.lines() == ["Unlocked working directory.", "a warning"]


def test_whole_blocks_on_request(run, monkeypatch):
    ran = run(printshellcmds=True)
    ran.handler.setFormatter(logging.Formatter("block %(message)s"))
    ran.say("Building DAG of jobs...")
    assert ran.lines() == ["block Building DAG of jobs..."]
    assert cli.BRIEF not in os.environ  # and the programs speak for themselves


def test_dry_run_says_why_each_job_would_run(run):
    ran = run(dryrun=True)
    ran.begin(1, "train_dense", reason="Params have changed since last execution: before: 1 now: 2")
    ran.begin(2, "prune", "", reason="Input files updated by another job: a, b")
    ran.begin(0, "all", reason="Input files updated by another job: c")
    assert ran.lines() == [
        "train_dense: its parameters or code have changed",
        "prune: what it reads is made again",
    ]


def test_verdict_is_the_end_of_a_whole_run_only(run, tmp_path, monkeypatch):
    (tmp_path / "verdict.txt").write_text("\nIt was worth it.\n\nEverything else: here\n")
    monkeypatch.setenv(terminal.VERDICT, str(tmp_path / "verdict.txt"))
    ran = run()
    ran.begin(1, "prune")
    ran.finish(1)
    assert len(ran.lines()) == 1
    ran = run()
    ran.begin(0, "all")
    ran.finish(0)
    assert ran.lines() == ["", "It was worth it.", "", "Everything else: here"]
    ran.handler.close()  # Snakemake closes it twice
    assert ran.stream.getvalue().count("worth") == 1
    ran = run()
    ran.say("Nothing to be done (all requested files are present and up to date).")
    assert ran.lines()[-1] == "Everything else: here"


def test_the_cause_of_a_failed_job_is_the_last_line_and_said_once(run):
    ran = run()
    ran.begin(1, "train_sparse", said=logged("epoch 1", "error: the loss is nan; lower it"))
    ran.begin(2, "evaluate", "dense")
    ran.fail(1, "train_sparse")
    ran.error(called("train_sparse", "returned non-zero exit status 1."))
    ran.finish(2)  # what does not depend on it goes on
    ran.say("Exiting because a job execution failed. Look below for error messages", logging.ERROR)
    text = "WorkflowError:\nAt least one job did not complete successfully."
    ran.error(text, "WorkflowError")
    lines = ran.lines()
    assert lines[1].partition("train_sparse")[2].startswith(" failed; its log: ")
    assert lines[-1] == "error: train_sparse: the loss is nan; lower it"
    assert ran.stream.getvalue().count("nan") == 1


@pytest.mark.parametrize("first", ["job", "program"])
def test_a_job_that_was_killed_says_what_probably_killed_it(run, monkeypatch, first):
    ran = run()
    ran.begin(1, "train_dense", said=logged("epoch 1"))
    ran.handler.screen.jobs[1].oom_kills = 3
    monkeypatch.setattr(memory, "oom_kills", lambda: 4)
    killed = called("train_dense", "died with <Signals.SIGKILL: 9>.")
    for what in ("job", "program") if first == "job" else ("program", "job"):
        if what == "job":
            ran.fail(1, "train_dense")
        else:
            ran.error(killed)
    last = ran.lines()[-1]
    assert last.startswith("error: train_dense: the kernel probably killed it, since the memory")
    assert "train.batch_size" in last


def test_what_killed_a_program_depends_on_the_kernels_count(monkeypatch):
    monkeypatch.setattr(memory, "oom_kills", lambda: 4)
    assert "not by the kernel" in memory.killed_by(4, training=True)
    assert "most often for want of memory: end other" in memory.killed_by(None, training=False)
    assert "train.batch_size" not in memory.killed_by(3, training=False)
    monkeypatch.undo()
    assert memory.oom_kills() is None or memory.oom_kills() >= 0


def test_a_batch_system_says_why_a_job_without_a_message_ended(run):
    ran = run()
    ran.begin(1, "build", said=None)
    ran.fail(1, "build", "SLURM job 7 failed: OUT_OF_MEMORY")
    assert ran.lines()[-1] == "error: build: SLURM job 7 failed: OUT_OF_MEMORY"


def test_ctrl_c_ends_with_what_the_training_saved(run):
    ran = run()
    ran.begin(1, "train_dense")
    ran.say("Terminating processes on user request, this might take some time.")
    stopped = "stopped after epoch 4, step 3 of the next; saved, so the same command resumes"
    (ran.folder / "train_dense.log").write_text(logged("epoch 4/9", stopped))
    ran.fail(1, "train_dense")
    ran.error(called("train_dense", "returned non-zero exit status 130."))
    assert ran.lines()[1:] == [stopped]
    ran = run()
    ran.begin(1, "evaluate", said=logged("interrupted"))
    ran.say("Terminating processes on user request, this might take some time.")
    assert ran.lines() == [terminal.STOPPED]


def test_an_error_of_the_workflow_is_its_sentence_alone(run, tmp_path, monkeypatch):
    text = 'WorkflowError in file "/a/common.smk", line 58:\nconfiguration: run is "a/b"\n'
    text += '  File "/a/Snakefile", line 14, in <module>'
    ran = run()
    for _ in range(2):  # Snakemake says it twice
        ran.error(text, "WorkflowError")
    assert ran.lines() == ['error: configuration: run is "a/b"']
    monkeypatch.setenv(cli.CAUSE, str(tmp_path / "cause"))  # make says it
    ran = run()
    assert cli.CAUSE not in os.environ
    ran.error(text, "WorkflowError")
    assert ran.lines() == []
    assert (tmp_path / "cause").read_text() == 'configuration: run is "a/b"'


def test_a_fault_in_a_rule_is_shown_with_its_place(run):
    ran = run()
    ran.error("KeyError in file \"/a/Snakefile\", line 41:\n'benchmark'", "KeyError")
    assert ran.lines() == ["error: KeyError in file \"/a/Snakefile\", line 41: 'benchmark'"]


def test_a_job_that_succeeds_when_it_is_tried_again_has_not_failed(run, tmp_path, monkeypatch):
    (tmp_path / "verdict.txt").write_text("worth it")
    monkeypatch.setenv(terminal.VERDICT, str(tmp_path / "verdict.txt"))
    ran = run()
    ran.begin(1, "plot", said=logged("error: the disk is full"))
    ran.fail(1, "plot")
    ran.say("Trying to restart job 1.")
    ran.say("Could not delete logfile", logging.ERROR)  # of the cluster's plugin
    ran.begin(1, "plot", said=logged("drawn"))
    ran.finish(1)
    ran.begin(0, "all")
    ran.finish(0)
    assert ran.lines()[-1] == "worth it"


def test_members_of_a_group_that_did_not_come_to_run_are_not_blamed(run):
    ran = run()
    for number, rule in enumerate(("export", "check", "build")):
        ran.begin(number, rule, said=logged("error: no space") if rule == "export" else None)
    ran.say("Error in group", logging.ERROR, event=LogEvent.GROUP_ERROR, job_error_info=[])
    for number, rule in enumerate(("export", "check", "build")):
        ran.fail(number, rule)
    lines = [line for line in ran.lines() if line.startswith("error")]
    assert lines == ["error: export: no space"]
    ran = run()
    ran.begin(1, "export", said="")
    ran.fail(1, "export")
    assert ran.lines()[-1].startswith("error: export failed without a message; its log: ")


def test_two_jobs_that_fail_at_once_keep_their_causes(run):
    ran = run()
    ran.begin(1, "plot", said=logged("error: no font"))
    ran.begin(2, "reference", said="")
    ran.error(called("plot", "returned non-zero exit status 1."))
    ran.error(called("reference", "died with <Signals.SIGSEGV: 11>."))
    ran.fail(1, "plot")
    ran.fail(2, "reference")
    causes = [line for line in ran.lines() if line.startswith("error")]
    assert causes == [
        "error: reference: it ended with SIGSEGV and left no message",
        "error: plot: no font",
    ]


@pytest.mark.parametrize(("quiet", "lines"), [("ALL", 0), ("RULES", 1), ("HOST", 3)])
def test_quiet(run, quiet, lines):
    ran = run(quiet=[SimpleNamespace(name=quiet)])
    ran.say("", event=LogEvent.RUN_INFO, stats={"plot": 1, "total": 1})
    ran.begin(1, "plot")
    ran.finish(1)
    ran.say("Unlocked working directory.")
    assert len(ran.lines()) == lines


@pytest.mark.parametrize(
    ("duration", "text"), [(4.12, "4.1 s"), (75.4, "75 s"), (7500, "2:05 h"), (90000, "25:00 h")]
)
def test_durations(duration, text):
    assert terminal.seconds(duration) == text


def test_ctrl_c_works_again_once_the_plugin_is_there(run):
    old = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        run()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, old)
