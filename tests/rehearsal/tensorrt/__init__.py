"""In the place of tensorrt."""

import doubles
from rehearsed import DRIVER, VERSION

globals().update(vars(doubles.tensorrt(VERSION, DRIVER, mixed=False)))
