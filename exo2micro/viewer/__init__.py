"""The whole slide in a browser: deep zoom into every image of a finished pair, on this machine."""

from exo2micro.viewer.session import Viewer, view

__all__ = ["Viewer", "view"]
