"""Run edits in batches: many pictures, each with its source's row and any number of edits, prompts and seeds."""

from headrouter.editing.batch.batch import Batch
from headrouter.editing.batch.edited import Edited, Latents, StartLatents
from headrouter.editing.batch.task import Task

__all__ = ["Batch", "Edited", "Latents", "StartLatents", "Task"]
