"""How a program without a page of its own says that it is ready: it writes its pid into a file, once.

Whoever started it names the file in a variable; a program that was started by hand has none and says nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

READY_VARIABLE = "PIPELINE3D_READY_FILE"


def tell_ready() -> None:
    """Say it, as a whole: a reader never sees half a pid."""
    told = os.environ.get(READY_VARIABLE)
    if not told:
        return
    written = Path(f"{told}.new")
    written.write_text(str(os.getpid()), encoding="ascii")
    written.replace(told)
