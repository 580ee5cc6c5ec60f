"""An extension that the tests load: a small task and a small untrained model, both real."""

from dataclasses import replace
from pathlib import Path

from models import MODELS
from models.model import Model, Shape
from tasks import TASKS
from tasks.movies import MOVIES
from tasks.task import Splits

SIZES = {"train": 256, "validation": 32, "test": 96, "amazon": 32, "unlabelled": 64}


def read() -> Splits:
    """Take the first sentences of each split of `movies`."""
    splits = MOVIES.splits()
    return {name: splits[name][:size] for name, size in SIZES.items()}


TASKS["tiny"] = replace(
    MOVIES, name="tiny", read=read, shifted=("amazon",), sizes=SIZES, data_sha256=None
)


def write(folder: Path) -> None:
    """Write the config of a BERT of four narrow layers, and MiniLM's tokenizer."""
    from transformers import BertConfig

    from models.minilm_bert import write_tokenizer

    config = BertConfig(
        vocab_size=30522,
        hidden_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=96,
    )
    config.save_pretrained(folder)
    write_tokenizer(folder)


MODELS["tiny-bert"] = Model(
    name="tiny-bert",
    title="BERT of 4 layers x 48, random weights",
    shape=Shape(layers=4, hidden=48, heads=4, ffn=96),
    revision="tiny-1",
    source="nothing",
    licence="Apache-2.0",
    write=write,
    pretrained=False,
)
