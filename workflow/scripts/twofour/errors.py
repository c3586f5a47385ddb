"""The one exception that stands for a mistake of the user's or of the machine's, not of ours."""


class TwoFourError(Exception):
    """A problem that the user can mend.

    The message is one sentence that names the file, key or flag concerned and says what to do.
    Programs print it without a traceback (see :mod:`twofour.cli`).
    """
