"""Alignment: find, certify and apply the mapping from post to pre."""
