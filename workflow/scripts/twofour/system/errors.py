"""The one exception that stands for a mistake of the user's or of the machine's, not of ours."""

from __future__ import annotations

import re

_LONGEST = 400  # characters of another library's words


class TwoFourError(Exception):
    """A problem that the user can mend.

    The message is one sentence that names the file, key or flag concerned and says what to do.
    Programs print it without a traceback (see :mod:`twofour.cli`).
    """


def telling(error: Exception) -> str:
    """What an exception of another library says, on one line.

    PaddlePaddle's begin with pages of its own calls; what happened follows "…Error:".
    """
    text = str(error)
    found = re.search(r"^\s*\w*Error: .*", text, re.MULTILINE | re.DOTALL)
    words = " ".join((found[0] if found else text).split())
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
