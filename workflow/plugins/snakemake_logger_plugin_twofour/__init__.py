"""Snakemake's logger plugin ``twofour`` (snakemake --logger twofour), see twofour.terminal.

Snakemake finds a plugin by the name of its package, which therefore has a folder of its own.
"""

from twofour.terminal import LogHandler

__all__ = ["LogHandler"]
