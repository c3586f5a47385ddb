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

CALLED = "RuleException:\nCalledProcessError in file x, line 3:\nCommand 'exec sh …' "


class Run:
    """Snakemake's messages of a run, and the lines that they become."""

    def __init__(self, folder, **settings):
        given = {"printshellcmds": False, "verbose": False, "debug_dag": False}
        given |= {"stdout": False, "dryrun": False, **settings}
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
        wildcards = {str(i): value for i, value in enumerate(values)}
        self.say("", event=LogEvent.JOB_INFO, wildcards=wildcards, **facts)

    def fail(self, number, rule, told=""):
        facts = {"rule_name": rule, "log": [str(self.folder / f"{rule}.log")], "rule_msg": told}
        self.say("", logging.ERROR, event=LogEvent.JOB_ERROR, jobid=number, **facts)

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
    ran.say(CALLED + "returned non-zero exit status 1.", logging.ERROR, event=LogEvent.ERROR)
    ran.finish(2)  # what does not depend on it goes on
    ran.say("Exiting because a job execution failed. Look below for error messages", logging.ERROR)
    text = "WorkflowError:\nAt least one job did not complete successfully."
    ran.say(text, logging.ERROR, event=LogEvent.ERROR)
    lines = ran.lines()
    assert lines[1].partition("train_sparse")[2].startswith(" failed; its log: ")
    assert lines[-1] == "error: train_sparse: the loss is nan; lower it"
    assert ran.stream.getvalue().count("nan") == 1


@pytest.mark.parametrize("first", ["job", "program"])
def test_a_job_that_was_killed_says_what_probably_killed_it(run, monkeypatch, first):
    ran = run()
    ran.handler.screen.oom_kills = 3
    monkeypatch.setattr(memory, "oom_kills", lambda: 4)
    ran.begin(1, "train_dense", said=logged("epoch 1"))
    killed = CALLED + "died with <Signals.SIGKILL: 9>."
    for what in ("job", "program") if first == "job" else ("program", "job"):
        if what == "job":
            ran.fail(1, "train_dense")
        else:
            ran.say(killed, logging.ERROR, event=LogEvent.ERROR)
    last = ran.lines()[-1]
    assert last.startswith("error: train_dense: the kernel killed it because the memory was used")
    assert "train.batch_size" in last


def test_what_killed_a_program_depends_on_the_kernels_count(monkeypatch):
    monkeypatch.setattr(memory, "oom_kills", lambda: 4)
    assert "not by the kernel" in memory.killed_by(4)
    assert "most often for want of memory" in memory.killed_by(None)
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
    ran.say(CALLED + "returned non-zero exit status 130.", logging.ERROR, event=LogEvent.ERROR)
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
        ran.say(text, logging.ERROR, event=LogEvent.ERROR)
    assert ran.lines() == ['error: configuration: run is "a/b"']
    monkeypatch.setenv(cli.CAUSE, str(tmp_path / "cause"))  # make says it
    ran = run()
    assert cli.CAUSE not in os.environ
    ran.say(text, logging.ERROR, event=LogEvent.ERROR)
    assert ran.lines() == []
    assert (tmp_path / "cause").read_text() == 'configuration: run is "a/b"'


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
