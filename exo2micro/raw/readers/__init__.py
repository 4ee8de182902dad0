"""Readers of raw files: one class per format, found through the registry."""

from exo2micro.raw.readers.base import RawReader, open_raw, raw_suffixes

__all__ = ["RawReader", "open_raw", "raw_suffixes"]
