"""Pages made from the templates beside this module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2


def fill(name: str, **values: Any) -> str:
    """The template ``name`` with ``values``, all of which it must know; text in them is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name).render(**values)
