"""The brightness scale, the difference and its data quality, on arrays and rasters."""
