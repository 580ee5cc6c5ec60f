"""GLUE by name: `--data glue/mrpc` (Wang et al. 2018, arXiv 1804.07461), fetched from the hub.

Nobody outside has the labels of the test splits: as in papers, the validation split is the test.
"""

from __future__ import annotations

from dataclasses import dataclass

REPOSITORY = "nyu-mll/glue"


@dataclass(frozen=True)
class Benchmark:
    """One of the benchmark's tasks: its columns, its classes in their order, and its metric."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    metric: str = "accuracy"
    """The headline; the others stand beside it. `f1` is that of the last class."""
    test: str = "validation"
    shifted: tuple[tuple[str, str], ...] = ()
    """Name and split of other domains."""


TWO_SENTENCES = ("sentence1", "sentence2")
ENTAILMENT = ("entailment", "not_entailment")

GLUE: dict[str, Benchmark] = {
    "glue/cola": Benchmark(("sentence",), ("unacceptable", "acceptable"), "mcc"),
    "glue/sst2": Benchmark(("sentence",), ("negative", "positive")),
    "glue/mrpc": Benchmark(TWO_SENTENCES, ("not_equivalent", "equivalent"), "f1"),
    "glue/qqp": Benchmark(("question1", "question2"), ("not_duplicate", "duplicate"), "f1"),
    "glue/stsb": Benchmark(TWO_SENTENCES, (), "pearson"),
    "glue/mnli": Benchmark(
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        test="validation_matched",
        shifted=(("mismatched", "validation_mismatched"),),
    ),
    "glue/qnli": Benchmark(("question", "sentence"), ENTAILMENT),
    "glue/rte": Benchmark(TWO_SENTENCES, ENTAILMENT),
    "glue/wnli": Benchmark(TWO_SENTENCES, ("not_entailment", "entailment")),
}
"""By the name that `--data` takes."""
