"""The pairs that the batch tests run, and the hashes of what comes out."""

import hashlib
from dataclasses import replace
from pathlib import Path

from small_pair import SPEC

PAIRS = [("A1", "DAPI"), ("A2", "DAPI")]
SMALL = replace(SPEC, shape=(380, 420), shift_px=(6.0, -5.0), rotation_deg=2.0, magnification=1.01)


def digests(processed: Path, sample: str) -> dict[str, str]:
    """Return the hash of every image of a sample."""
    return {
        str(path.relative_to(processed)): hashlib.sha256(path.read_bytes()).hexdigest()
        for kind in ("tiff", "fits")
        for path in sorted((processed / sample).glob(f"*/{kind}/*"))
    }
