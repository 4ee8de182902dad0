"""The command line: ``exo2micro COMMAND``."""

from exo2micro.cli.app import main

__all__ = ["main"]
