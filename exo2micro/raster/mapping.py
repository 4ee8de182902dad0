"""Files mapped into memory, without the memory."""

import mmap
from typing import Any

import numpy as np


def release_pages(mapped: "np.memmap[Any, Any]") -> None:
    """Take the pages of a mapped file out of this process; the file keeps what was written.

    A slide of a gigapixel that is read or written window by window would else count as used memory
    in the end. Systems without such a call (Windows) reclaim the pages when they need them.
    """
    mapping: Any = getattr(mapped, "_mmap", None)
    if hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)
