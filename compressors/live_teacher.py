"""A teacher that is asked anew in every batch, for what is too large to be kept for all texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from compressors.teaching import TEXTS

if TYPE_CHECKING:
    import torch

    from compressors.workbench import Workbench
    from models.artifact import Artifact


class Answer(NamedTuple):
    """What a teacher says of those rows of a batch that its student reads in the same tokens."""

    rows: list[int]
    mask: torch.Tensor  # bool [rows, tokens]: real tokens
    attention: dict[
        int, list[torch.Tensor]
    ]  # queries, keys, values of layers, [rows, tokens, width]
    states: tuple[torch.Tensor, ...]  # embeddings, then each layer's output, [rows, tokens, hidden]


@dataclass
class LiveTeacher:
    """A fine-tuned network in evaluation mode, and its tokens of every text."""

    network: Any
    ids: list[list[int]]
    device: str

    def answer(self, batch: dict[str, Any], layers: Sequence[int]) -> Answer | None:
        """Ask for some layers' attention; None if student and teacher share no text's tokens.

        A student of another vocabulary may cut a text elsewhere. What is said of single tokens is
        then about other tokens, so texts that differ in their number of tokens are left out.
        """
        import torch

        from models.attention import listening
        from models.tokenization import pad
        from models.training import autocast

        ids = [self.ids[text] for text in batch["index"].tolist()]
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        rows = [row for row, length in enumerate(lengths) if len(ids[row]) == length]
        if not rows:
            return None
        tokens = pad([ids[row] for row in rows], self.network.config.pad_token_id or 0)
        given, mask = (torch.from_numpy(array).to(self.device) for array in tokens)
        with torch.no_grad(), autocast(self.device), listening(self.network, layers) as heard:
            said = self.network(input_ids=given, attention_mask=mask, output_hidden_states=True)
        return Answer(rows, mask.bool(), heard, said.hidden_states)


def live_teacher(teacher: Artifact, source: Artifact, workbench: Workbench) -> LiveTeacher:
    """Load a teacher that reads every text with its own tokenizer, as far as `source` does."""
    from models.networks import load_classifier
    from models.tokenization import load_tokenizer, tokenize

    network = load_classifier(teacher.folder, workbench.outputs).to(workbench.device)
    tokenizer = load_tokenizer(teacher.folder, workbench.most_tokens(source))
    return LiveTeacher(network, tokenize(tokenizer, workbench.texts(*TEXTS)), workbench.device)
