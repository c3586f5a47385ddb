"""In the place of cuda.bindings.driver."""

from rehearsed import DRIVER


def __getattr__(name):
    return getattr(DRIVER, name)
