"""Finding objects in a difference: from pixels to a table with a stated false-positive rate."""

from exo2micro.detection.detect import detect
from exo2micro.detection.detections import Detections
from exo2micro.detection.difference import Difference, open_difference
from exo2micro.detection.flags import Flag

__all__ = ["Detections", "Difference", "Flag", "detect", "open_difference"]
