"""Reading TIFF by window: pages, segments, pyramid levels, metadata."""
