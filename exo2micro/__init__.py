"""Register, scale and subtract pre- and post-stain fluorescence scans of rock samples."""

from exo2micro._version import __version__

__all__ = ["__version__"]
