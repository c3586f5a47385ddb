#!/usr/bin/env python3
"""Judge whether the layers of model files are 2:4 sparse along their input channels.

Takes .pdparams, Paddle inference models (.pdmodel or their folder) and .onnx files, including those
of other tools, and prints what it finds for each layer. Exit status 1 if a layer that must be 2:4
sparse is not: by default every layer whose input channels are a multiple of 4.

With --tensorrt it judges quantised ONNX files (Q/DQ) by TensorRT's rules instead, and exits with 1
if TensorRT would refuse or misread something.
"""

from __future__ import annotations

import dataclasses

from twofour import command
from twofour.system import cli, files
from twofour.system.errors import TwoFourError


def main(options) -> None:
    from twofour.sparse import check

    if options.tensorrt:
        lint(options)
        return
    listed = check.listed(options.sparsity) if options.sparsity else None
    report, failed, unjudged = [], [], []
    for path in options.file:
        outcome = check.judge(path, listed, options.exclude)
        cli.say(check.table(outcome))
        report.append(check.record(outcome))
        failed += [f"{v.name} in {path}" for v in outcome.verdicts if not v.passed]
        unjudged += [f"{name} in {path} ({why})" for name, why in outcome.unjudged.items()]
        cli.log.info("%s", check.summary(outcome))
        for warning in check.warnings(outcome):
            cli.log.warning("warning: %s", warning)
    if options.out:
        files.write_json(options.out, report)
    if failed:
        remedy = (
            f"{options.sparsity} says that they are"
            if options.sparsity
            else "name layers that are meant to be dense with --exclude, or give a sparsity.json"
        )
        raise TwoFourError(f"not 2:4 sparse: {_some(failed)}; {remedy}")
    if unjudged:
        raise TwoFourError(
            f"could be a layer's weight, but could not be judged: {_some(unjudged)}; exclude what "
            "need not be sparse with --exclude"
        )


def lint(options) -> None:
    """Judge the files by TensorRT's rules for quantised networks."""
    from pathlib import Path

    from twofour.quantization import lint

    reports = [lint.judge(Path(path)) for path in options.file]
    for report in reports:
        cli.say(lint.text(report))
        cli.log.info("%s", lint.summary(report))
    if options.out:
        files.write_json(options.out, [dataclasses.asdict(report) for report in reports])
    refused = [f"{f.node} in {r.path} ({f.rule})" for r in reports for f in r.findings if f.refused]
    if refused:
        raise TwoFourError(f"TensorRT does not take: {_some(refused)}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def arguments(parser) -> None:
    from twofour.sparse import check

    parser.add_argument("file", nargs="+", metavar="FILE", help=check.KINDS)
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="layers that need not be sparse, by the name of their weight or node; * ? and [abc] "
        "are wildcards; may be repeated",
    )
    parser.add_argument(
        "--sparsity", metavar="FILE", help="a sparsity.json: only what it lists as sparse must be"
    )
    parser.add_argument(
        "--tensorrt",
        action="store_true",
        help="judge quantised ONNX files by TensorRT's rules instead of 2:4",
    )
    parser.add_argument("--out", metavar="FILE", help="JSON file to write as well")


if __name__ == "__main__":
    command.start(__file__, __doc__, arguments, main)
