"""What is measured of an artifact: one measure a file."""

from benchmarks.measures.accuracy import ACCURACY
from benchmarks.measures.latency import LATENCY
from benchmarks.measures.measure import Measure
from benchmarks.measures.memory import MEMORY
from benchmarks.measures.size import SIZE

MEASURES: dict[str, Measure] = {m.name: m for m in (ACCURACY, SIZE, MEMORY, LATENCY)}
"""Every measure by name, in the order in which a cell's tests run. Add yours with one line."""
