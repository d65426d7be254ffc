"""Packages that are not found while what would load them, though nobody here uses them, is at it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(*names: str) -> Iterator[None]:
    """Within the ``with`` block, these packages cannot be imported. Before and after, they can by everybody.

    Args:
        names: Of the packages, none of which is a part of another one.
    """
    kept = {name: sys.modules.get(name) for name in names}
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # for the import system, None is: not there
    try:
        yield
    finally:
        for name, module in kept.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
