"""Batches: many pairs, each in a process of its own, with a journal that survives."""

from exo2micro.batch.events import EventReader, TaskEvent
from exo2micro.batch.journal import Journal
from exo2micro.batch.outlook import plan_batch, plan_resumed
from exo2micro.batch.results import BatchResults
from exo2micro.batch.run import resume_batch, run_batch

__all__ = [
    "BatchResults",
    "EventReader",
    "Journal",
    "TaskEvent",
    "plan_batch",
    "plan_resumed",
    "resume_batch",
    "run_batch",
]
