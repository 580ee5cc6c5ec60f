"""An extension that the tests load: a small task and a small untrained model, both real."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from models import MODELS
from models.model import Model, Shape
from tasks import TASKS
from tasks.movies import MOVIES
from tasks.task import Splits, Task


def small_task(name: str, sizes: dict[str, int]) -> Task:
    """Declare a task of the first sentences of each split of `movies`."""

    def read() -> Splits:
        splits = MOVIES.splits()
        return {split: splits[split][:size] for split, size in sizes.items()}

    return replace(MOVIES, name=name, read=read, shifted=("amazon",), sizes=sizes, data_sha256=None)


def narrow_bert(name: str, shape: Shape) -> Model:
    """Declare a BERT of random weights that reads with MiniLM's tokenizer."""
    return Model(
        name=f"{name}-bert",
        title=f"BERT of {shape.layers} layers x {shape.hidden}, random weights",
        shape=shape,
        revision=f"{name}-1",
        source="nothing",
        licence="Apache-2.0",
        write=partial(write, shape),
        pretrained=False,
    )


def write(shape: Shape, folder: Path) -> None:
    """Write the config of a BERT, and MiniLM's tokenizer."""
    from transformers import BertConfig

    from models.assets import MINILM, write_tokenizer
    from tasks.assets import fetch

    config = BertConfig(
        vocab_size=30522,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn,
    )
    config.save_pretrained(folder)
    write_tokenizer(fetch(MINILM), folder)


SIZES = {"train": 256, "validation": 32, "test": 96, "amazon": 32, "unlabelled": 64}
TASKS["tiny"] = small_task("tiny", SIZES)
MODELS["tiny-bert"] = narrow_bert("tiny", Shape(layers=4, hidden=48, heads=4, ffn=96))
