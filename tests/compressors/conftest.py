"""Another model than the tests' usual one: narrower, and with a vocabulary of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import MODELS
from models.model import Model, Shape
from tasks import TASKS


def write_other(folder: Path) -> None:
    """Write a BERT of two layers x 32 and a tokenizer of 300 tokens of its own."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=special, show_progress=False, limit_alphabet=100
    )
    texts = sorted(e.text for e in TASKS["tiny"].splits()["train"])
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    BertConfig(
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
    ).save_pretrained(folder)


OTHER = Model(
    name="other-bert",
    title="BERT of 2 layers x 32 and a vocabulary of its own",
    shape=Shape(layers=2, hidden=32, heads=4, ffn=64),
    revision="other-1",
    source="nothing",
    licence="Apache-2.0",
    write=write_other,
    pretrained=False,
)


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setitem(MODELS, OTHER.name, OTHER)
    return OTHER
