"""Size on disk, and what is in the files: read from them, never from the object that wrote them."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measures import weights
from benchmarks.measures.measure import Measure, Metrics
from benchmarks.measures.weights import Weight, read_weights, weight_bytes
from compressors.lora import ADAPTER
from models.artifact import FIRST_TOKEN, Artifact
from models.store import kept_facts
from reports.records import OK
from tasks.assets import file_sha256

if TYPE_CHECKING:
    from benchmarks.matrix import Cell
    from benchmarks.session import Session

METRICS: Metrics = {
    "size_bytes": ("B", True),
    "zipped_bytes": ("B", True),
    "parameters": ("", True),
    "nonzero_parameters": ("", True),
    "bits_per_parameter": ("bit", True),
    "macs": ("", True),
    "bytes_per_extra_task": ("B", True),
}
TOKENS = 128
"""`macs` are the multiply-accumulates of one text of so many tokens."""


def take(session: Session, cell: Cell, artifact: Artifact) -> None:
    """Read the sizes of a cell's files; what was read of the same files is kept."""
    if cell.reference and cell.reference != cell:
        session.record("size", cell.reference)
    with session.account.spend("reading sizes"):
        metrics = kept_facts("sizes", _identity(artifact), partial(measure, artifact))
    session.append(cell, "size", OK, artifact=artifact, metrics=metrics)


def _identity(artifact: Artifact) -> list[Any]:
    """What the sizes depend on: the files, what the manifest says of them, and our code."""
    code = [file_sha256(Path(str(module))) for module in (__file__, weights.__file__)]
    said = [artifact.manifest.get(name) for name in ("files", "shape", "last_layer")]
    return [*said, *code]


def measure(artifact: Artifact) -> dict[str, Any]:
    """Return the metrics of `METRICS` for the files that prediction needs (the manifest is not)."""
    files = [file for file in artifact.manifest["files"] if file["needed"]]
    size = sum(file["bytes"] for file in files)
    weights = [weight for file in files for weight in read_weights(artifact.folder / file["name"])]
    parameters = sum(weight.count for weight in weights)
    stored = sum(weight_bytes(artifact.folder / file["name"]) for file in files)
    return {
        "size_bytes": size,
        "zipped_bytes": sum(_zipped(artifact.folder / file["name"]) for file in files),
        "parameters": parameters,
        "nonzero_parameters": sum(weight.nonzero for weight in weights),
        "bits_per_parameter": 8 * stored / parameters if parameters else None,
        "macs": _macs(artifact, weights),
        "bytes_per_extra_task": _bytes_of(artifact, ADAPTER),
    }


def _bytes_of(artifact: Artifact, name: str) -> int | None:
    """Return a file's bytes, needed for prediction or not; None if the artifact has no such file."""
    return next((f["bytes"] for f in artifact.manifest["files"] if f["name"] == name), None)


def _zipped(path: Path) -> int:
    """Compress in blocks of 4 MiB, on all cores: zlib lets go of the interpreter's lock."""
    data = memoryview(path.read_bytes())
    blocks = [data[start : start + (4 << 20)] for start in range(0, len(data), 4 << 20)]
    with ThreadPoolExecutor() as pool:
        return sum(len(packed) for packed in pool.map(partial(zlib.compress, level=1), blocks))


def _macs(artifact: Artifact, weights: list[Weight]) -> int | None:
    """Linear maps by their matrices on disk, attention by the shape; None for linear models."""
    shape = artifact.manifest.get("shape")
    if shape is None:
        return None
    linear = sum(weight.count for weight in weights if weight.multiplies)
    width = shape.get("attention", shape["hidden"])
    macs = TOKENS * linear + 2 * TOKENS * TOKENS * width * shape["layers"]
    if artifact.manifest.get("last_layer") == FIRST_TOKEN:
        macs -= (TOKENS - 1) * (_per_query(shape, width) + 2 * TOKENS * width)
    return round(macs)


def _per_query(shape: dict[str, Any], width: float) -> float:
    """Multiply-accumulates of the maps that a layer applies once for each token that it computes."""
    hidden, rank = shape["hidden"], shape.get("rank")
    maps = ((hidden, width), (width, hidden), (hidden, shape["ffn"]), (shape["ffn"], hidden))
    return sum(rank * (a + b) if rank else a * b for a, b in maps)


SIZE = Measure("size", METRICS, take)
