"""The options of DALI's decoders."""

from __future__ import annotations

from typing import Any

from .settings import Data

# What the decoder on the GPU allocates at once, for the largest of ImageNet's images, instead of
# growing again and again in the first epochs (the sizes are those of NVIDIA's recipes).
_WIDTH_HINT, _HEIGHT_HINT = 5980, 6430
_DEVICE_PADDING, _HOST_PADDING = 211_025_920, 140_544_512  # bytes for each thread


def options(data: Data, device: str) -> dict[str, Any]:
    """The decoder's device and options for the config's section ``data``."""
    if device == "cpu" or data.decoder == "cpu":
        return {"device": "cpu", **as_stored()}
    return {
        "device": "mixed",
        **as_stored(),
        "hw_decoder_load": data.decoder_load,
        "preallocate_width_hint": _WIDTH_HINT,
        "preallocate_height_hint": _HEIGHT_HINT,
        "device_memory_padding": _DEVICE_PADDING,
        "host_memory_padding": _HOST_PADDING,
    }


def as_stored() -> dict[str, Any]:
    """The option by which DALI's decoders leave a picture as it is stored, where they need one.

    We turn pictures by their EXIF orientation ourselves. DALI 2 would, DALI 1 never does.
    """
    from nvidia.dali import backend

    schema = backend.GetSchema("decoders__Image")  # type: ignore[attr-defined]
    turns = schema.HasArgument("adjust_orientation")
    return {"adjust_orientation": False} if turns else {}
