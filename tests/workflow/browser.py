"""A page opened in headless Chromium, and what a script in it finds."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def axe() -> str:
    """The source of axe-core, Deque's rules of accessibility."""
    spec = importlib.util.find_spec("axe_core_python")
    return Path(next(iter(spec.submodule_search_locations)), "axe.min.js").read_text()


def found_in(page: Path, script: str, folder: Path, width: int = 1100, dark: bool = False):
    """What ``script``, the body of an async function, returns in ``page`` of ``width`` pixels."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    wrapped = (
        "(async () => { let found; try { found = await (async () => {"
        f"{script}"
        "})(); } catch (error) { found = {error: String(error)}; }"
        "const out = document.createElement('pre'); out.id = 'found';"
        "out.textContent = JSON.stringify(found); document.body.append(out); })();"
    )
    copy = folder / "copy.html"
    parts = page.read_text(encoding="utf-8").rpartition("</body>")
    more = f"<script>{axe()}</script><script>{wrapped}</script>"
    copy.write_text(parts[0] + more + parts[1] + parts[2], encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
    options += [f"--window-size={width},900", f"--user-data-dir={folder / 'profile'}"]
    options += ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [CHROMIUM, *options, "--dump-dom", copy.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert match, done.stderr[-2000:]
    return json.loads(unescape(match[1]))
