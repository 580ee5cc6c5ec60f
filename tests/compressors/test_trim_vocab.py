"""Trimmed vocabularies: the same text reads the same, nothing becomes unknown, and the files shrink."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors.building import StepFailed
from compressors.finetune import Finetune
from compressors.trim_vocab import TrimVocab
from compressors.workbench import Workbench
from models import MODELS, vocabulary
from models.artifact import Artifact
from models.model import Model, Shape
from models.predictors import load_predictor
from models.tokenization import load_tokenizer, tokenize
from tasks import TASKS
from tests.compressors.artifacts import header, made, predict

TINY = Shape(layers=2, hidden=48, heads=4, ffn=96)
SIZES = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
}


def write_mpnet(folder: Path) -> None:
    """Write an MPNet with MiniLM's tokens behind its own frame, as the real one has them."""
    from transformers import MPNetConfig

    from models.assets import MINILM, write_tokenizer
    from tasks.assets import fetch

    frame = ["<s>", "<pad>", "</s>", "<unk>"]
    write_tokenizer(fetch(MINILM), folder)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    words = [*frame, *tokenizer["model"]["vocab"], "<mask>"]
    tokenizer["model"]["vocab"] = {word: id for id, word in enumerate(words)}
    added = tokenizer["added_tokens"][0]
    tokenizer["added_tokens"] = [
        added | {"id": id, "content": word}
        for id, word in enumerate(words)
        if word in (*frame, "[UNK]", "<mask>")
    ]
    tokenizer["post_processor"] = {
        "type": "RobertaProcessing",
        "sep": ["</s>", 2],
        "cls": ["<s>", 0],
        "trim_offsets": True,
        "add_prefix_space": False,
    }
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    config = MPNetConfig(vocab_size=len(words), **SIZES)
    config.save_pretrained(folder)


def write_roberta(folder: Path) -> None:
    """Write a RoBERTa with a byte-level BPE that was trained on what reviewers say."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import RobertaConfig

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = TASKS["movies"].splits()["train"][1000:4000]
    tokenizer.train_from_iterator([example.text for example in texts], trainer)
    tokenizer.add_special_tokens(["<mask>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.save(str(folder / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    RobertaConfig(vocab_size=size, max_position_embeddings=130, **SIZES).save_pretrained(folder)


for name, write in (("tiny-mpnet", write_mpnet), ("tiny-roberta", write_roberta)):
    MODELS[name] = Model(name, name, TINY, "1", "nothing", "none", write, pretrained=False)

MODEL_NAMES = ("tiny-bert", "minilm-bert", "minilm-roberta", "tiny-mpnet", "tiny-roberta")


def description(artifact: Artifact) -> dict[str, Any]:
    return json.loads((artifact.folder / "tokenizer.json").read_text(encoding="utf-8"))


def config(artifact: Artifact) -> dict[str, Any]:
    return json.loads((artifact.folder / "config.json").read_text(encoding="utf-8"))


def texts(*splits: str) -> list[str]:
    return [e.text for split in splits for e in TASKS["tiny"].splits()[split]]


def rows(artifact: Artifact) -> int:
    tables = [t for n, t in header(artifact).items() if n.endswith("word_embeddings.weight")]
    return tables[0]["shape"][0]


def bench(folder: Path) -> Workbench:
    return Workbench(TASKS["tiny"], 0, "cpu", 1, folder, lambda *_: None)


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_counted_texts_are_predicted_exactly_as_before(model: str) -> None:
    before, after = made("finetune", model), made("finetune+trim-vocab", model)
    counted = texts("train", "unlabelled")
    logits = [load_predictor(a, "cpu", 1).predict(counted) for a in (before, after)]
    np.testing.assert_array_equal(*logits)
    tokens = [
        [e.tokens for e in load_tokenizer(a.folder, 64).encode_batch(counted)]
        for a in (before, after)
    ]
    assert tokens[0] == tokens[1]


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_the_files_shrink_and_agree(model: str) -> None:
    before, after = made("finetune", model), made("finetune+trim-vocab", model)
    ids = vocabulary.ids_of(description(after))
    assert sorted(ids.values()) == list(range(len(ids)))
    assert config(after)["vocab_size"] == rows(after) == len(ids) < rows(before)
    for file in ("model.safetensors", "tokenizer.json"):
        assert (after.folder / file).stat().st_size < (before.folder / file).stat().st_size
    saved = (rows(before) - rows(after)) * header(after)[table_name(after)]["shape"][1] * 4
    files = [(a.folder / "model.safetensors").stat().st_size for a in (before, after)]
    assert files[0] - files[1] == pytest.approx(saved, abs=100)


def table_name(artifact: Artifact) -> str:
    return next(n for n in header(artifact) if n.endswith("word_embeddings.weight"))


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_every_kept_token_keeps_its_row(model: str) -> None:
    from safetensors.numpy import load_file

    before, after = made("finetune", model), made("finetune+trim-vocab", model)
    old, new = (load_file(a.folder / "model.safetensors") for a in (before, after))
    old_ids, new_ids = (vocabulary.ids_of(description(a)) for a in (before, after))
    kept = [old_ids[token] for token in sorted(new_ids, key=new_ids.__getitem__)]
    name = table_name(after)
    np.testing.assert_array_equal(new.pop(name), old.pop(name)[kept])
    assert old.keys() == new.keys()
    for name, weight in new.items():
        np.testing.assert_array_equal(weight, old[name])


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_special_tokens_are_renamed_wherever_an_id_stands(model: str) -> None:
    before, after = made("finetune", model), made("finetune+trim-vocab", model)
    old_ids = {id: token for token, id in vocabulary.ids_of(description(before)).items()}
    new_ids = vocabulary.ids_of(description(after))
    for name, id in config(before).items():
        if name.endswith("_token_id") and id is not None:
            assert config(after)[name] == new_ids[old_ids[id]], name
    # The padding's number stays: RoBERTa and MPNet count positions from it.
    assert config(after)["pad_token_id"] == config(before)["pad_token_id"]
    for token in description(after)["added_tokens"]:
        assert token["id"] == new_ids[token["content"]]
    tokenizer = load_tokenizer(after.folder, 64)
    framed = tokenizer.encode("a film").tokens
    assert framed == load_tokenizer(before.folder, 64).encode("a film").tokens
    assert framed[0] in ("[CLS]", "<s>")
    assert tokenizer.encode("a film").ids == [new_ids[token] for token in framed]


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_transformers_opens_it_as_any_other_model(model: str) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    artifact = made("finetune+trim-vocab", model)
    network = AutoModelForSequenceClassification.from_pretrained(artifact.folder).eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(artifact.folder / "tokenizer.json"))
    tokenizer.model_max_length = 64
    text = texts("test")[0]
    given = torch.tensor([tokenizer.encode(text, truncation=True)])
    with torch.inference_mode():
        logits = network(input_ids=given, attention_mask=torch.ones_like(given)).logits.numpy()
    own = load_predictor(artifact, "cpu", 1).predict([text])
    np.testing.assert_allclose(logits, own, atol=1e-5)


def alphabet() -> str:
    """Every character of MiniLM's vocabulary."""
    words = description(made("finetune"))["model"]["vocab"]
    return "".join(sorted({letter for word in words for letter in word}))


@pytest.mark.parametrize("recipe", ["finetune+trim-vocab", "finetune+trim-vocab:2500"])
def test_nothing_that_was_known_becomes_unknown(recipe: str) -> None:
    full, trimmed = (load_tokenizer(made(r).folder, 10_000) for r in ("finetune", recipe))
    vocabulary_words = sorted(full.get_vocab())
    pieces = st.one_of(
        st.text(alphabet(), max_size=12),
        st.sampled_from(vocabulary_words).map(lambda word: word.removeprefix("##")),
        st.sampled_from(["é", "ß", "中", "한", "🎬", "\u0301", "'", "..."]),
    )

    def unknown(tokenizer: Any, text: str) -> int:
        return tokenizer.encode(text).tokens.count("[UNK]")

    @settings(max_examples=500, deadline=None)
    @given(st.lists(pieces, max_size=8), st.sampled_from(["", " "]))
    def check(parts: list[str], between: str) -> None:
        text = between.join(parts)
        assert unknown(trimmed, text) <= unknown(full, text)

    check()
    for word in vocabulary_words:  # each word alone, too
        assert unknown(trimmed, word) <= unknown(full, word)


def test_bpe_spells_every_text_that_it_no_longer_knows() -> None:
    full, trimmed = (
        load_tokenizer(made(r, "tiny-roberta").folder, 10_000)
        for r in ("finetune", "finetune+trim-vocab:600")
    )
    assert trimmed.get_vocab_size() <= 600

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=40))
    def check(text: str) -> None:
        pieces = trimmed.encode(text, add_special_tokens=False).tokens
        assert "".join(pieces) == "".join(full.encode(text, add_special_tokens=False).tokens)

    check()


@pytest.mark.parametrize("model", ["tiny-bert", "tiny-roberta"])
def test_a_number_keeps_the_most_frequent_tokens(model: str) -> None:
    limit = {"tiny-bert": 2300, "tiny-roberta": 700}[model]
    before, after = made("finetune", model), made(f"finetune+trim-vocab:{limit}", model)
    assert rows(after) <= limit
    assert rows(after) > limit - 10  # BPE brings several tokens at once
    tokenizer = load_tokenizer(before.folder, TASKS["tiny"].max_tokens)
    read = tokenize(tokenizer, texts("train", "unlabelled"))
    names = {id: token for token, id in vocabulary.ids_of(description(before)).items()}
    counts = Counter(names[id] for row in read for id in row)
    always = vocabulary.indispensable(description(before))
    kept = vocabulary.ids_of(description(after)).keys()
    assert always <= kept
    needs = vocabulary.ancestry(description(before))
    passed = {other for token in kept for other in needs(token) - {token}}
    least = min(counts[token] for token in counts.keys() & kept - always - passed)
    assert max(counts[token] for token in counts.keys() - kept) <= least


def test_the_unlabelled_text_can_be_left_out() -> None:
    source, alone = made("finetune"), made("finetune+trim-vocab-train")
    assert rows(alone) < rows(made("finetune+trim-vocab"))
    counted = [load_predictor(a, "cpu", 1).predict(texts("train")) for a in (source, alone)]
    np.testing.assert_array_equal(*counted)


@pytest.mark.parametrize(
    ("recipe", "model"),
    [
        ("finetune+trim-vocab:500", "tiny-bert"),
        ("finetune+distill-into:tiny-bert+trim-vocab:500", "other-bert"),
    ],
)
def test_a_vocabulary_trimmed_to_nothing_is_refused_before_the_training(
    recipe: str, model: str, other: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: object) -> None:
        raise AssertionError("it was trained")

    monkeypatch.setattr(Finetune, "apply", trained)
    with pytest.raises(
        StepFailed,
        match=r"trim-vocab:500: .*no word is left: \d+ special tokens and single characters always "
        "stay, at most 500 were asked for",
    ):
        made(recipe, model, seed=77)


def test_other_kinds_of_tokenizer_are_refused() -> None:
    from tokenizers import Tokenizer, models

    unigram = json.loads(Tokenizer(models.Unigram([("a", 0.0)], 0)).to_str())
    with pytest.raises(vocabulary.VocabularyError, match=r"WordPiece and BPE .* not of Unigram"):
        vocabulary.check(unigram)
    suffixed = json.loads(
        Tokenizer(models.BPE({"a</w>": 0}, [], end_of_word_suffix="</w>")).to_str()
    )
    with pytest.raises(vocabulary.VocabularyError, match="BPE with end_of_word_suffix"):
        vocabulary.check(suffixed)


def test_a_vocabulary_without_some_character_alone_is_refused() -> None:
    tokenizer = description(made("finetune"))
    del tokenizer["model"]["vocab"]["##q"]
    with pytest.raises(vocabulary.VocabularyError, match=r"none themselves \(##q\)"):
        vocabulary.check(tokenizer)


def test_bpe_keeps_what_a_merge_passes_through() -> None:
    merges = ["t h", "th e", "e r", "the r"]
    needs = vocabulary.ancestry({"model": {"type": "BPE", "merges": merges}})
    assert needs("the") == {"th", "the"}
    assert needs("ther") == {"th", "the", "ther"}


@pytest.mark.parametrize("model", ["tiny-bert", "tiny-mpnet", "tiny-roberta"])
@pytest.mark.parametrize(
    "recipe",
    [
        "trim-vocab+finetune",
        "finetune+trim-vocab+finetune",
        "finetune+trim-vocab+distill:1",
        "trim-vocab+finetune+int8",
        "finetune+trim-vocab+onnx-int8",
        "finetune+prune-magnitude:0.5+trim-vocab+finetune",
        "finetune+svd-embeddings:12+trim-vocab+onnx-int8",
    ],
)
def test_it_chains(model: str, recipe: str) -> None:
    artifact = made(recipe, model)
    assert np.isfinite(predict(artifact)).all()
    ids = vocabulary.ids_of(description(artifact))
    assert len(ids) < vocabulary.ids_of(description(made("finetune", model))).__len__()


@pytest.mark.parametrize("model", ["tiny-bert", "minilm-roberta", "tiny-mpnet", "tiny-roberta"])
def test_exported_graphs_pad_as_before(model: str) -> None:
    before, after = made("finetune", model), made("finetune+trim-vocab+onnx", model)
    assert after.manifest["pad_id"] == config(before)["pad_token_id"]
    counted = texts("train")[:64]
    logits = [load_predictor(a, "cpu", 1).predict(counted, 32) for a in (before, after)]
    np.testing.assert_allclose(*logits, atol=1e-4)


def test_an_untrained_model_has_no_table_yet() -> None:
    from compressors.recipe import parse_recipe

    (trim,) = parse_recipe("trim-vocab+finetune").steps[:1]
    assert str(trim) == "trim-vocab"
    assert rows(made("trim-vocab+finetune")) == rows(made("finetune+trim-vocab"))


def test_sources_stay_as_they_were_and_the_bits_repeat(tmp_path: Path) -> None:
    from models.artifact import open_artifact

    source, once = made("finetune"), made("finetune+trim-vocab")
    again = TrimVocab().apply(source, bench(tmp_path))
    assert again.sha256 == once.sha256
    assert open_artifact(source.folder).sha256 == source.sha256
