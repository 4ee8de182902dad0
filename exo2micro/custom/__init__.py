"""Custom functions: kept, checked and used as stages, plots, scale estimators and readers."""
