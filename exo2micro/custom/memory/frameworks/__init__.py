"""The array frameworks, one file each."""
