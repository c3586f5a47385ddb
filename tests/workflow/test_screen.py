"""make run as a user sees it, in a terminal of 80×24."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, TINY, make_images, merged

pytestmark = pytest.mark.workflow
LIMIT_S = 240
VENV = Path(sys.executable).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the repository with a configuration, c.yaml, in the environment of the tests."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("Makefile", "Snakefile", "workflow", "config", "profiles", "envs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(VENV)
    make_images(folder / "images")
    long = {"run": "tiny", "data": {"root": "images"}, "train": {"epochs": 60}}
    small = {"deploy": {"backends": ["onnxruntime"]}, "benchmark": {"batch_sizes": [1]}}
    (folder / "c.yaml").write_text(yaml.safe_dump(merged(TINY, long, small)))
    return folder


def screen(folder, *arguments, ctrl_c_at=None):
    """Lines on the screen and exit status of ``make -o .venv/.installed`` with the arguments.

    Ctrl-C is typed once ``ctrl_c_at`` is on the screen.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # The tests may have been started by make themselves.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        os.execvpe("make", ["make", "-o", ".venv/.installed", *arguments], inherited)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    said, end = b"", time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            said += os.read(terminal, 1 << 16)
        except OSError:  # it has ended
            break
        if ctrl_c_at and ctrl_c_at in said:
            os.write(terminal, b"\x03")
            ctrl_c_at = None
    _, status = os.waitpid(pid, 0)
    # What a bar showed has been written over.
    lines = [re.split(r"\r(?!$)", line)[-1] for line in said.decode().split("\n")]
    lines = [line.replace("\x1b[K", "").rstrip() for line in lines]
    return [line for line in lines if line], os.waitstatus_to_exitcode(status)


def test_a_mistake_in_the_configuration_is_the_last_line_and_said_once(folder):
    text = (folder / "c.yaml").read_text().replace("epochs:", "epochz:")
    (folder / "typo.yaml").write_text(text)
    lines, status = screen(folder, "run", "CONFIG=typo.yaml")
    assert status == 2
    assert lines[-1].endswith("unknown key train.epochz; did you mean train.epochs?.  Stop.")
    assert "\n".join(lines).count("epochz") == 1
    lines, status = screen(folder, "run", "CONFIG=nowhere.yaml")
    assert (status, lines[-1].split("*** ")[1]) == (2, "nowhere.yaml does not exist.  Stop.")


def test_ctrl_c_ends_with_what_was_saved_and_the_same_command_goes_on(folder):
    lines, status = screen(folder, "run", "CONFIG=c.yaml", ctrl_c_at=b"epoch 3/60: loss")
    assert status == -signal.SIGINT
    assert re.match(r"stopped after epoch \d+, step \d+ of the next; saved, so the same", lines[-1])
    assert not any("Traceback" in line or "RuleException" in line for line in lines)
    text = (folder / "c.yaml").read_text().replace("epochs: 60", "epochs: 2")
    (folder / "c.yaml").write_text(text)
    lines, status = screen(folder, "run", "CONFIG=c.yaml")
    assert status == 0
    assert lines[-1] == "Everything else: results/tiny/report.html"
    head = next(i for i, line in enumerate(lines) if re.match(r"model +top-1", line))
    assert [line.split()[0] for line in lines[head + 1 : head + 4]] == ["dense", "pruned", "sparse"]
    jobs = [line for line in lines if re.match(r"\d\d:\d\d:\d\d–", line)]
    assert f"jobs: {len(jobs)}" in lines and all(len(line) <= 80 for line in jobs)
    assert all(len(line) <= 80 for line in lines[head - 12 :])
    assert not any(word in line for line in lines for word in ("reason:", "input:", "jobid"))


def test_a_job_that_fails_says_why_in_the_last_line_though_others_end_later(folder):
    lazy = {"run": "lazy", "data": {"root": "images"}}
    lazy["train"] = {"learning_rate": 1e-6, "warmup_epochs": 0, "epochs": 1}
    lazy |= {"deploy": {"backends": ["onnxruntime"]}}
    (folder / "lazy.yaml").write_text(yaml.safe_dump(merged(TINY, lazy)))
    lines, status = screen(folder, "run", "CONFIG=lazy.yaml")
    assert status == 2
    text = "".join(lines[-5:])  # a terminal breaks long lines
    assert "*** prune: the dense network did not learn" in text and text.endswith("Stop.")
    (failed,) = (i for i, line in enumerate(lines) if "prune failed; its log: " in line)
    assert any("evaluate dense" in line for line in lines[failed:])
    assert "\n".join(lines).count("did not learn") == 1


def test_a_killed_training_says_so(folder):
    config = yaml.safe_load((folder / "lazy.yaml").read_text())
    config["train"] |= {"epochs": 1000}
    (folder / "killed.yaml").write_text(yaml.safe_dump({**config, "run": "killed"}))
    kill = "sleep 1; until pkill -KILL -f 'train.py .*results/killed/[d]ense'; do sleep 1; done"
    with subprocess.Popen(["sh", "-c", kill]) as killer:
        lines, status = screen(folder, "run", "CONFIG=killed.yaml")
        killer.kill()
    assert status == 2
    assert "train_dense: it was killed from outside (SIGKILL)" in "".join(lines[-4:])
