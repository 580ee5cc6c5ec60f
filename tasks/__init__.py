"""What is to be learnt: one built-in task a file."""

from tasks.bbc import BBC
from tasks.movies import MOVIES
from tasks.task import Task
from tasks.valence import VALENCE

TASKS: dict[str, Task] = {task.name: task for task in (MOVIES, VALENCE, BBC)}
"""Every task by name. Add yours with one line."""
