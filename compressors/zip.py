"""Zipped files: quantized weights are not spread evenly over their bits, and graphs are text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.step import Step
from models.predictors import RUNTIMES
from models.zipped import SUFFIX

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Zip(Step):
    """Deflate all files into one archive, which is unpacked when the model is loaded.

    Coding what quantization leaves by its frequency is the last stage of Deep Compression (Han et
    al. 2015, arXiv 1510.00149). Nothing that is computed changes: it costs loading time and, while
    the model is loaded, room for the unpacked files.
    """

    name: ClassVar[str] = "zip"
    family: ClassVar[str] = "conversion"
    accepts: ClassVar[tuple[str, ...]] = tuple(f for f in RUNTIMES if f + SUFFIX in RUNTIMES)
    produces: ClassVar[str | None] = None
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    libraries: ClassVar[tuple[str, ...]] = ()

    def format_after(self, before: str) -> str:
        return before + SUFFIX

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.zipped import ARCHIVE, pack

        assert source
        needed = [file["name"] for file in source.manifest["files"] if file["needed"]]
        pack({name: source.folder / name for name in needed}, workbench.folder / ARCHIVE)
        return workbench.seal(source, format=self.format_after(source.format))
