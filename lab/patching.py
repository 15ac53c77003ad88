# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the lab behind moto: replace one method of moto's models by one that also acts on real machines."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

Wrapper = Callable[..., Any]


def wrap(owner: Any, name: str, wrapper: Wrapper) -> None:
    """Replace ``owner.name``; ``wrapper`` gets the original function before the call's own arguments."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    setattr(owner, name, call)
