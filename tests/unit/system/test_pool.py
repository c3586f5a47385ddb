"""Worker processes: their order, and that they neither outlive their parent nor hang."""

import os
import shutil
import signal
import subprocess
import sys
import time

from twofour.system import cli, pool
from twofour.system.errors import TwoFourError

import psutil
import pytest


def _square(number: int) -> int:
    time.sleep(0.002 * (number % 3))
    return number * number


def _kill_at_five(number: int) -> int:
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("chunk", [1, 7])
def test_results_come_in_order(chunk):
    assert list(pool.ordered(_square, iter(range(50)), 3, chunk)) == [n * n for n in range(50)]
    assert list(pool.ordered(_square, [], 3)) == []


def test_a_killed_worker_is_an_error_and_no_hang():
    with pytest.raises(TwoFourError, match="lack of memory"):
        list(pool.ordered(_kill_at_five, range(100), 2))


CODE = """
import sys, time
from twofour.system import pool
print(*pool.ordered(abs, [-1, -2], 2), flush=True)
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="no unshare")
def test_pool_works_below_the_first_process_of_a_container():
    """As with docker run IMAGE python …: the parent's process id is 1."""
    code = CODE
    shell = ["unshare", "-rpf", "--mount-proc"]
    if subprocess.run([*shell, "true"], capture_output=True).returncode != 0:
        pytest.skip("no process namespaces here")
    done = subprocess.run(
        [*shell, sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "1 2\n", done.stderr


WAITS = """
import sys, time
from twofour.system import cli, pool
for _ in pool.ordered(time.sleep, [60, 60], 2): pass
"""


def test_workers_end_with_their_parent():
    running = subprocess.Popen([sys.executable, "-c", WAITS])
    parent, until = psutil.Process(running.pid), time.monotonic() + 30
    while len(parent.children()) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    workers = parent.children()
    running.kill()
    running.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_program_ends_at_once_if_its_parent_is_gone():
    code = "from twofour.system import cli\n"
    code += "cli.end_with_parent(15, {}); print('alive')"
    mine = [sys.executable, "-c", code.format(os.getpid())]
    assert subprocess.run(mine, capture_output=True, text=True).stdout == "alive\n"
    other = [sys.executable, "-c", code.format(os.getppid())]
    assert subprocess.run(other).returncode == -signal.SIGTERM
    assert cli.ANY_PARENT.isdigit() is False
