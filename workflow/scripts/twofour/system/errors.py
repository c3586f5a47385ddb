"""The one exception for problems of the user's input or machine, as opposed to bugs of ours."""

from __future__ import annotations

import re

_LONGEST = 400  # characters of another library's message


class TwoFourError(Exception):
    """A problem that the user can fix.

    The message is one sentence that names the file, key or flag concerned and says what to do.
    Programs print it without a traceback (see :mod:`twofour.system.cli`).
    """


def telling(error: Exception) -> str:
    """What an exception of another library says, on one line.

    PaddlePaddle's messages begin with a long stack trace; the cause follows "…Error:".
    """
    text = str(error)
    found = re.search(r"^\s*\w*Error: .*", text, re.MULTILINE | re.DOTALL)
    words = " ".join((found[0] if found else text).split())
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
