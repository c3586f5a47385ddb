"""Keeping masks in place while a network trains, by paddle.incubate.asp.

ASP multiplies each mask onto its weight after every update, and keeps the masks among the
variables of the program.
"""

from __future__ import annotations

from collections.abc import Iterable

from paddle.incubate import asp
from paddle.incubate.asp import supported_layer_list


def decorate(optimizer, names: Iterable[str]):
    """``optimizer`` with a mask for exactly the weights ``names``; the masks start as ones.

    By default, ASP goes by PaddlePaddle's automatic names (conv2d_0.w_0) and excludes by substring.
    Our names differ, so it finds only the weights that are registered here, by their full names.
    """
    # ASP's own type names would also match a weight of ours with the same name.
    supported_layer_list.supported_layers_and_prune_func_map.clear()
    for name in names:
        asp.add_supported_layer(name)
    return asp.decorate(optimizer)


def mask_name(name: str) -> str:
    """The variable in which ASP keeps the mask of the weight ``name``."""
    return f"{name}.asp_mask"
