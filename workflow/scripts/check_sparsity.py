#!/usr/bin/env python3
"""Check whether the layers of model files are 2:4 sparse along their input channels.

Takes .pdparams, Paddle inference models (.pdmodel or their folder) and .onnx files, also such as
were not made here, and prints what it finds of each layer. Exit status 1 if a layer that must be
2:4 sparse is not: by default every layer whose input channels fall into whole groups of 4.
"""

from __future__ import annotations

from dataclasses import asdict

from twofour import checker, cli, files, patterns, sparsity
from twofour.errors import TwoFourError


def main(options) -> None:
    listed = None
    if options.sparsity:
        listed = _listed(options.sparsity)
    report, failed = [], []
    for path in options.file:
        contents = checker.read(path)
        layers = contents.layers
        names = [layer.name for layer in layers]
        if listed is not None:
            missing = [name for name in listed if name not in names]
            if missing:
                raise TwoFourError(f"{path} has no weight {missing[0]}, which should be 2:4 sparse")
        patterns.require(options.exclude, names, "--exclude", path)
        candidates = listed
        if candidates is None:
            candidates = [v.name for v in checker.check(layers) if v.required]
        required = [n for n in candidates if not patterns.first_match(n, options.exclude)]
        verdicts = checker.check(layers, required)
        _print(path, verdicts)
        report.append(
            {
                "file": path,
                "layers": [{**asdict(v), "passed": v.passed} for v in verdicts],
                "not_checked": contents.others,
            }
        )
        failed += [f"{v.name} in {path}" for v in verdicts if not v.passed]
        cli.log.info(
            "%s: %d of %d layers must be 2:4 sparse, and %d of them are",
            path,
            len(required),
            len(verdicts),
            sum(v.required and v.passed for v in verdicts),
        )
        if contents.others:
            cli.log.warning(
                "%s: not checked, since no operator known here reads them: %s",
                path,
                ", ".join(contents.others),
            )
    if options.out:
        files.write_json(options.out, report)
    if failed:
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        remedy = (
            f"{options.sparsity} says that they are"
            if options.sparsity
            else "name layers that are meant to be dense by --exclude, or give a sparsity.json"
        )
        raise TwoFourError(f"not 2:4 sparse: {', '.join(failed[:3])}{more}; {remedy}")


def _listed(path: str) -> list[str]:
    report = files.read_json(path)
    try:
        return sparsity.chosen(sparsity.choices(report))
    except (KeyError, TypeError) as error:
        raise TwoFourError(f"{path} is no sparsity.json") from error


def _print(path: str, verdicts: list[checker.Verdict]) -> None:
    rows = [("layer", "operator", "shape", "eligible", "density", "verdict")]
    for v in verdicts:
        shape = "×".join(map(str, v.shape))
        yes = "yes" if v.eligible else "no"
        rows.append((v.name, v.operator, shape, yes, f"{v.density:.3f}", v.words))
    widths = [max(map(len, column)) for column in zip(*rows)]
    print(path)
    for row in rows:
        print("  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip())


if __name__ == "__main__":
    parser = cli.parser(__doc__)
    parser.add_argument("file", nargs="+", metavar="FILE", help=checker.KINDS)
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="layers that need not be sparse; * ? and [abc] are wildcards; may be given again",
    )
    parser.add_argument(
        "--sparsity", metavar="FILE", help="a sparsity.json: only what it calls sparse must be so"
    )
    parser.add_argument("--out", metavar="FILE", help="JSON file to write as well")
    cli.run(main, parser)
