"""Rasters: windowed images, their files and their checkpoints."""

from exo2micro.raster.base import ArrayRaster, OffsetRaster, Raster, as_raster

__all__ = ["ArrayRaster", "OffsetRaster", "Raster", "as_raster"]
