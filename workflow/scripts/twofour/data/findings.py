"""What a user should know about a dataset: in the log of its stage, and in the report."""

from __future__ import annotations

from typing import Any


def warnings(summary: dict[str, Any]) -> list[str]:
    """A sentence for each thing in dataset.json that may make the accuracy say something else."""
    found = []
    if summary["nested"]:
        classes, inner = list(summary["per_class"])[:3], summary["nested"][:3]
        found.append(
            f"the classes are {', '.join(classes)}; if they should be {', '.join(inner)} …, one "
            "level deeper, bring these folders together in one"
        )
    if summary["unmixed"]:
        found.append(
            "most tar files hold images of one class alone; training shuffles among neighbours in "
            "the tar files, so pack them anew in random order"
        )
    leaks = summary["leaks"]
    if leaks["count"]:
        pair = leaks["pairs"][0]
        found.append(
            f"{leaks['count']} images are in both splits, so accuracy is too high; the first is "
            f"{pair['train']} = {pair['val']}"
        )
    turned = summary["turned_by_exif"]
    if turned["count"] and not turned["applied"]:
        found.append(
            f"{turned['count']} images are rotated or mirrored by their EXIF orientation, which "
            f"data.exif: ignore leaves out, such as {turned['paths'][0]}; take apply if your "
            "deployment sees them upright"
        )
    return found
