"""What a step gets besides its source: data, seed, device, teacher and a folder to write to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.artifact import Artifact, seal
from models.store import kept_arrays
from models.tokenization import load_tokenizer, pad, tokenize
from tasks.task import Task

if TYPE_CHECKING:
    from datasets import Dataset
    from tokenizers import Tokenizer


BATCH = 64


@dataclass(frozen=True)
class Workbench:
    """Everything that a step may use, and where it writes."""

    task: Task
    seed: int
    device: str
    threads: int
    folder: Path
    """Empty; what the step writes here becomes the artifact."""
    progress: Callable[[float, str], None]
    """Fraction done and what is being done."""
    teacher: Artifact | None = None
    """The recipe's fine-tuned network before anything was compressed, if a step made one."""
    others: tuple[Artifact, ...] = ()
    """What a step reads beside its source, if it asks for it: see `Step.other_source`."""
    tutors: tuple[Artifact, ...] = ()
    """What the steps before it lend as further teachers: see `Step.others_teach`."""

    @property
    def outputs(self) -> int:
        """Number of logits: one a label, one for regression."""
        return len(self.task.labels) or 1

    @property
    def label_type(self) -> type[np.generic]:
        return np.float32 if self.task.kind == "regression" else np.int64

    def texts(self, *splits: str) -> list[str]:
        """Return the texts of splits; those that are evaluated cannot be had here.

        Raises:
            ValueError: a split that a step must not see.
        """
        if wrong := set(splits) - {"train", "unlabelled"}:
            raise ValueError(f"a step learns from train and unlabelled only, not from {wrong}")
        return [example.text for split in splits for example in self.task.splits().get(split, ())]

    def labels(self) -> np.ndarray:
        """Return the labels of the train split, [n]."""
        return np.array([e.label for e in self.task.splits()["train"]], dtype=self.label_type)

    def most_tokens(self, artifact: Artifact) -> int:
        """Return where an artifact cuts its texts; a pretrained one does as the task says."""
        return int(artifact.manifest.get("max_tokens", self.task.max_tokens))

    def tokenizer(self, artifact: Artifact) -> Tokenizer:
        """Return an artifact's tokenizer; it cuts where the artifact does."""
        return load_tokenizer(artifact.folder, self.most_tokens(artifact))

    def tokens(self, source: Artifact, *splits: str) -> Dataset:
        """Return token ids of splits (`input_ids`, `length`), with `labels` if train alone."""
        from datasets import Dataset

        ids = tokenize(self.tokenizer(source), self.texts(*splits))
        columns: dict[str, Any] = {"input_ids": ids, "length": [len(row) for row in ids]}
        if splits == ("train",):
            columns["labels"] = self.labels()
        return Dataset.from_dict(columns)

    def train(self, network: Any, source: Artifact, *splits: str, **settings: Any) -> None:
        """Train in place on splits, as `source`'s tokenizer reads them; pruned weights stay zero.

        Args:
            settings: epochs, learning rate, loss … of `models.training.train`. A loss gets batches
                with `index`, the texts' places in `texts(*splits)`.
        """
        from models.sparse import keep_zeros
        from models.training import train

        if source.manifest.get("sparse"):
            keep_zeros(network)
        data = self.tokens(source, *splits)
        if "loss" in settings:
            data = data.add_column("index", list(range(len(data))))
        train(
            network,
            data,
            pad_id=network.config.pad_token_id or 0,
            seed=self.seed,
            device=self.device,
            **({"progress": self.progress} | settings),
        )

    def lessons(self, teacher: Artifact, *splits: str) -> Mapping[str, np.ndarray]:
        """Return what a fine-tuned teacher says of splits; computed once, then kept.

        The teacher reads with its own tokenizer, and what it says belongs to texts, not to tokens:
        its student may have another vocabulary.

        Returns:
            `logits` float32 [n, outputs] and `states` float16 [n, layers, hidden]: the first
            token's hidden state after each layer. Each is read from the disk when it is asked for.
        """
        return self._lessons(teacher, self.texts(*splits))

    def answers(self, teacher: Artifact, *splits: str) -> np.ndarray:
        """Return what a student learns to answer: a teacher's logits of splits, [n, outputs].

        Of several teachers the mean: those that the step reads are the teacher's equals, and the
        tutors, however many, say half.
        """
        return self._said(teacher, self.texts(*splits))

    def _said(self, teacher: Artifact, texts: list[str]) -> np.ndarray:
        equals = [self._lessons(teacher, texts), *self._of_others(self.others, texts)]
        groups = [equals, self._of_others(self.tutors, texts)]
        means = [np.mean([each["logits"] for each in group], axis=0) for group in groups if group]
        return np.mean(means, axis=0)

    def _of_others(
        self, teachers: tuple[Artifact, ...], texts: list[str]
    ) -> list[Mapping[str, np.ndarray]]:
        """Return the logits of further teachers, whose hidden states nobody reads."""
        return [self._lessons(each, texts, states=False) for each in teachers]

    def compare_on_validation(
        self, student: Any, source: Artifact, teacher: Artifact
    ) -> dict[str, float]:
        """Compare a student that has learnt with its teachers, on texts that no step learns from.

        The figures tell whether the teacher was worth listening to; no step sees text or label.

        Args:
            student: a classifier that reads the tokens of `source`'s tokenizer.

        Returns:
            `teacher_error` and `student_error`: shares of wrong answers (squared errors for
            regression), and `gain`: by how many standard errors the student is better. Empty
            without a validation split.
        """
        examples = self.task.splits().get("validation", [])
        if len(examples) < 2:
            return {}
        texts = [example.text for example in examples]
        labels = np.array([example.label for example in examples], dtype=self.label_type)
        ids = tokenize(self.tokenizer(source), texts)
        said = self._ask(student, ids, states=False)["logits"]
        mine, theirs = (
            self._errors(logits, labels) for logits in (said, self._said(teacher, texts))
        )
        better = theirs - mine
        spread = better.std(ddof=1) / np.sqrt(len(better))
        gain = better.mean() / max(spread, 1 / len(better))  # all may be better by as much
        figures = {"teacher_error": theirs.mean(), "student_error": mine.mean(), "gain": gain}
        return {name: round(float(value), 4) for name, value in figures.items()}

    def _errors(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        if self.task.kind == "regression":
            return (logits[:, 0] - labels) ** 2
        return (logits.argmax(axis=1) != labels).astype(np.float64)

    def _lessons(
        self, teacher: Artifact, texts: list[str], *, states: bool = True
    ) -> Mapping[str, np.ndarray]:
        from compressors.building import library_versions
        from models.training import bf16_is_fast

        def make(target: Path) -> None:
            from models.networks import load_classifier

            network = load_classifier(teacher.folder, self.outputs)
            lessons = self._ask(network, tokenize(self.tokenizer(teacher), texts), states=states)
            np.savez(target, **lessons)  # type: ignore[arg-type]

        computed = [library_versions(("torch", "transformers")), bf16_is_fast(self.device)]
        identity = [4, teacher.sha256, self.most_tokens(teacher), self.device, computed, texts]
        return np.load(kept_arrays("lessons" if states else "answers", identity, make))

    def _ask(
        self, network: Any, ids: list[list[int]], *, states: bool = True
    ) -> dict[str, np.ndarray]:
        import torch

        from models.first_token import first_token_only
        from models.training import autocast

        network.to(self.device).eval()
        config = network.config
        pad_id = config.pad_token_id or 0
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        answers = {"logits": np.empty((len(ids), self.outputs), np.float32)}
        if states:
            layers = config.num_hidden_layers, config.hidden_size
            answers["states"] = np.empty((len(ids), *layers), np.float16)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            tokens = pad([ids[i] for i in rows], pad_id)
            given, mask = (torch.from_numpy(array).to(self.device) for array in tokens)
            with torch.inference_mode(), autocast(self.device), first_token_only(network):
                said = network(input_ids=given, attention_mask=mask, output_hidden_states=states)
            answers["logits"][rows] = said.logits.float().cpu().numpy()
            if states:
                first = torch.stack([layer[:, 0] for layer in said.hidden_states[1:]], dim=1)
                answers["states"][rows] = first.half().cpu().numpy()
            self.progress(start / len(order), "asking the teacher")
        network.to("cpu")
        return answers

    def keep(self, source: Artifact, *names: str) -> None:
        """Copy files of the source unchanged."""
        for name in names:
            shutil.copyfile(source.folder / name, self.folder / name)

    def seal(
        self, source: Artifact | None, *, not_needed: tuple[str, ...] = (), **facts: Any
    ) -> Artifact:
        """Close the folder: its facts are the source's, but for those named here."""
        known = {"max_tokens": self.task.max_tokens} | (source.manifest if source else {})
        return seal(self.folder, known | {"outputs": self.outputs} | facts, not_needed)
