"""From finished pairs to tables of objects and detection limits, on disk."""

from exo2micro.census.limit import detection_limit
from exo2micro.census.limit_result import LimitResult
from exo2micro.census.pairs import DetectionResult, detect_file, detect_pair, finished_pairs

__all__ = [
    "DetectionResult",
    "LimitResult",
    "detect_file",
    "detect_pair",
    "detection_limit",
    "finished_pairs",
]
