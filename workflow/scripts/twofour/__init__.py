"""What the programs of TwoFour share: small modules of plain functions, one subject each."""

import signal
import sys
from pathlib import Path

# While a program still loads its libraries, Ctrl-C ends it without a word; cli.run takes over then.
if Path(sys.argv[0]).resolve().parent == Path(__file__).resolve().parents[1]:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
