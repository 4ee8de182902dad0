"""The ones'-complement checksum of FITS (FITS Standard 4.0, section 4.4.2.7 and Appendix J)."""

import numpy as np
from astropy.io import fits

from exo2micro._typing import Image

NO_CHECKSUM = "0" * 16
NO_DATASUM = "0" * 10

_PUNCTUATION = frozenset(b":;<=>?@[\\]^_`")


def sum_words(data: bytes, lead: int = 0) -> int:
    """Return the 32-bit ones'-complement sum of bytes that start `lead` bytes into a word."""
    padded = bytes(lead) + data if lead else data
    padded += bytes(-len(padded) % 4)
    total = int(np.frombuffer(padded, ">u4").sum(dtype=np.uint64))
    return _fold(total)


def sum_rows(rows: Image, start: int, step: int) -> int:
    """Return the sum of rows of an image, of which the first starts at byte `start` of the data.

    Parameters
    ----------
    rows : numpy.ndarray
        C-contiguous, in the byte order of the file.
    start, step : int
        Byte at which the first row starts, and bytes from one to the next.
    """
    if rows.itemsize % 4 == 0:
        return _fold(int(rows.view(">u4").sum(dtype=np.uint64)))
    total = 0
    for index, row in enumerate(rows):
        total += sum_words(row.tobytes(), (start + index * step) % 4)
    return _fold(total)


def add_words(a: int, b: int) -> int:
    """Return the ones'-complement sum of two sums."""
    return _fold(a + b)


def _fold(total: int) -> int:
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def checksum_text(hdu_sum: int) -> str:
    """Return the 16 characters that make the sum of the whole HDU all ones.

    Parameters
    ----------
    hdu_sum : int
        Sum of the HDU with the CHECKSUM value set to sixteen zeros.
    """
    value = ~hdu_sum & 0xFFFFFFFF
    characters = bytearray(16)
    for position, byte in enumerate(value.to_bytes(4, "big")):
        quarters = [byte // 4 + 48] * 4
        quarters[0] += byte % 4
        while any(q in _PUNCTUATION for q in quarters):
            for first in (0, 2):
                if quarters[first] in _PUNCTUATION or quarters[first + 1] in _PUNCTUATION:
                    quarters[first] += 1
                    quarters[first + 1] -= 1
        characters[position::4] = bytes(quarters)
    return (characters[-1:] + characters[:-1]).decode("ascii")


def with_checksums(header: fits.Header, data_sum: int) -> bytes:
    """Return the header's bytes with DATASUM and CHECKSUM filled in; its length is unchanged."""
    header["DATASUM"] = (f"{data_sum:010d}", "data unit checksum")
    header["CHECKSUM"] = (NO_CHECKSUM, "HDU checksum")
    text = header.tostring().encode("ascii")
    header["CHECKSUM"] = (checksum_text(add_words(sum_words(text), data_sum)), "HDU checksum")
    return bytes(header.tostring().encode("ascii"))
