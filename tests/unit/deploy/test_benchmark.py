"""Turns: every predictor is measured as often, and each round begins with another one."""

import itertools

from twofour.deploy import benchmark

import numpy as np


def test_each_round_begins_with_another_predictor():
    calls = []
    names = ("a", "b", "again")
    predictors = {name: lambda batch, name=name: calls.append(name) for name in names}
    found = benchmark.synthetic(predictors, np.zeros((2, 1)), warmup=0, steps=15)
    turns = [name for name, _ in itertools.groupby(calls)]
    assert {name: calls.count(name) for name in names} == dict.fromkeys(names, 15)
    assert [turns[i] for i in range(0, 15, 3)] == ["a", "b", "again", "a", "b"]
    assert all(len(found[name]["rounds_img_s"]) == benchmark.ROUNDS for name in names)


def test_reading_files_takes_the_same_turns():
    calls = []
    predictors = {name: lambda batch, name=name: calls.append(name) or batch for name in "ab"}
    benchmark.end_to_end(predictors, lambda: itertools.repeat(np.zeros((2, 1))), steps=10)
    assert calls[0] == "a"
    assert calls.count("a") == calls.count("b") == 10 + benchmark.ROUNDS * benchmark.READ_AHEAD
