"""Pages that are made from the code, so that they cannot drift from it.

The JSON schema, config/README.md, docs/backends.md and the captions of workflow/report.
``make pages`` writes them (``python -m twofour.pages``); a test compares them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from . import config
from .deploy import backends
from .report.captions import OTHERS, PLOTS
from .system import codehash, files

ROOT = codehash.SCRIPTS.parents[1]
SCHEMA = "workflow/schemas/config.schema.yaml"
KEYS = "config/README.md"
BACKENDS = "docs/backends.md"

_MADE = "Made from the code by make pages; edit it there."


def pages() -> dict[str, str]:
    """{path in the repository: text} of all pages."""
    captions = {**PLOTS, **OTHERS}
    return {
        SCHEMA: schema_page(),
        KEYS: keys_page(),
        BACKENDS: backends_page(),
        **{f"workflow/report/{name}.rst": f"{text}\n" for name, text in captions.items()},
    }


def schema_page() -> str:
    """The JSON schema, for editors and for anyone who wants to check a file without TwoFour."""
    head = f"# {_MADE} The sections are in twofour/*/settings.py.\n"
    return head + yaml.safe_dump(config.schema(), sort_keys=False, allow_unicode=True, width=100)


_KEYS_HEAD = """# Every key of the configuration

`make run` uses `config.yaml`, the demo; `make run CONFIG=my.yaml` uses another file, which stands
alone: a key that it leaves out has the default below, not the demo's value. Single keys can be set
on the command line: `snakemake --config run=other train='{"epochs": 3}'`.
Everything is checked before anything runs. For editors there is a JSON schema,
`workflow/schemas/config.schema.yaml`.
"""


def keys_page() -> str:
    """Every key of the configuration: meaning, what is allowed, default."""
    properties = config.schema()["properties"]
    top = {name: node for name, node in properties.items() if "properties" not in node}
    parts = [f"<!-- {_MADE} -->\n\n{_KEYS_HEAD}", _table(top, "")]
    for name, node in properties.items():
        if "properties" in node:
            parts.append(f"## {name}\n\n{_table(node['properties'], f'{name}.')}")
    return "\n".join(parts)


def _table(properties: dict[str, Any], prefix: str) -> str:
    lines = ["| key | meaning | allowed | default |", "|---|---|---|---|"]
    for key, node in _leaves(properties, prefix):
        meaning = node["description"][0].upper() + node["description"][1:]
        default = json.dumps(node["default"])
        lines.append(f"| `{key}` | {meaning} | {config.allowed(node)} | `{default}` |")
    return "\n".join(lines) + "\n"


def _leaves(properties: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict]]:
    for name, node in properties.items():
        if "properties" in node:
            yield from _leaves(node["properties"], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", node


_BACKENDS_HEAD = """# Backends

`deploy.backends` lists those that are built, evaluated and benchmarked; each is used in those of
`deploy.precisions` that it has. What this machine lacks is said before anything runs.
"""
_COLUMNS = (
    *("backend", "runs on", "precisions", "sparse kernels", "built for batch sizes"),
    *("reads", "needs", "note"),
)


def _files(about: backends.About) -> str:
    plain = ", ".join(about.reads)
    return f"{plain}; int8: {', '.join(about.reads_int8)}" if about.reads_int8 else plain


def backends_page() -> str:
    """What each backend can do."""
    rows: list[tuple[str, ...]] = [_COLUMNS, ("---",) * len(_COLUMNS)]
    for name in backends.NAMES:
        about = backends.about(name)
        rows.append(
            (
                f"`{name}`",
                about.summary,
                about.precision_words,
                "yes" if about.sparse_kernels else "no",
                "yes" if about.for_batches else "no",
                _files(about),
                ", ".join(about.packages),
                about.note,
            )
        )
    lines = [f"| {' | '.join(row)} |\n" for row in rows]
    return f"<!-- {_MADE} -->\n\n{_BACKENDS_HEAD}\n{''.join(lines)}"


def main() -> None:
    """Write all pages."""
    for path, text in pages().items():
        files.write_text(ROOT / path, text)


if __name__ == "__main__":
    main()
