"""How all plots look, and how they are written."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from ..system.files import atomic

STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 10,
    "svg.hashsalt": "twofour",  # the same plot gives the same file
    "svg.fonttype": "path",  # looks the same wherever it is opened
}


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as SVG."""
    figure.tight_layout()
    with atomic(path) as temporary:
        figure.savefig(temporary, format="svg", bbox_inches="tight", metadata={"Date": None})
