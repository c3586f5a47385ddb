"""The generated pages in the repository are up to date with the code."""

import re

from twofour import pages

import pytest
from conftest import ROOT


@pytest.mark.parametrize("path", pages.pages())
def test_page_is_current(path):
    assert (ROOT / path).read_text() == pages.pages()[path], "run make pages"


def test_every_default_in_the_page_is_allowed():
    """A table with a default that the schema itself refuses could not be right."""
    from twofour import config

    import jsonschema

    def leaves(node, prefix=""):
        for name, child in node["properties"].items():
            if "properties" in child:
                yield from leaves(child, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", child

    page = pages.keys_page()
    for key, node in leaves(config.schema()):
        assert jsonschema.Draft202012Validator(node).is_valid(node["default"]), key
        assert len(re.findall(rf"^\| `{re.escape(key)}` \|", page, re.M)) == 1, key
