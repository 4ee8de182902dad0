"""Scale estimators, one per file; a new file is found by itself."""
