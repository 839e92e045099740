"""Divide the edits of a batch into groups that run one after the other, so that a model call stays small."""

from collections.abc import Sequence
from typing import TypeAlias

from headrouter.editing.batch.task import Task

Group: TypeAlias = list[tuple[int, tuple[str, ...]]]
"""Pictures by number, each with the prompts of those of its edits that run in the group."""


def groups_of(tasks: Sequence[Task], max_rows: int | None) -> list[Group]:
    """Return the edits of all pictures, in groups of at most ``max_rows`` rows; in one without that limit.

    >>> tasks = [Task(("a", "b", "c"), (0,), source="x"), Task(("d",), (0,), source="y")]
    >>> groups_of(tasks, 3)
    [[(0, ('a', 'b'))], [(0, ('c',))], [(1, ('d',))]]
    >>> groups_of(tasks, 4)
    [[(0, ('a', 'b', 'c'))], [(1, ('d',))]]
    """
    groups: list[Group] = [[]]
    rows = 0
    for place, task in enumerate(tasks):
        own = int(task.source is not None)
        most = len(task.prompts) if max_rows is None else max_rows - own
        for first in range(0, len(task.prompts), most):
            part = task.prompts[first : first + most]
            if max_rows is not None and rows + own + len(part) > max_rows:
                groups.append([])
                rows = 0
            groups[-1].append((place, part))
            rows += own + len(part)
    return groups
