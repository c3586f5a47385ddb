"""PaddlePaddle's flags in the environment."""

import json
import os

import pytest
from conftest import TINY, merged, program


@pytest.mark.parametrize(
    "flag", ["FLAGS_use_mkldnn=1", "FLAGS_check_nan_inf=1", "FLAGS_nonsense=x"]
)
def test_flags_of_the_environment_change_nothing_and_are_named(prepared, dense, tmp_path, flag):
    name, _, value = flag.partition("=")
    done = program(
        "train.py",
        *("--config", json.dumps(merged(TINY, {}))),
        *("--data", prepared, "--out", tmp_path),
        env={**os.environ, name: value, "FLAGS_allocator_strategy": "auto_growth"},
    )
    assert f"note: ignoring {flag} of the environment" in done.stderr
    assert "allocator_strategy" not in done.stderr
    assert (tmp_path / "model.pdparams").read_bytes() == (dense / "model.pdparams").read_bytes()
