"""Where models come from, how they are fine-tuned, stored and run."""

from models.hub import HUB_MODELS
from models.minilm_bert import MINILM_BERT
from models.minilm_roberta import MINILM_ROBERTA
from models.model import Model
from models.mpnet_base import MPNET_BASE
from models.transformer_scratch import TRANSFORMER_SCRATCH

MODELS: dict[str, Model] = {
    model.name: model
    for model in (MINILM_BERT, MINILM_ROBERTA, TRANSFORMER_SCRATCH, MPNET_BASE, *HUB_MODELS)
}
"""Every model that a recipe can start from, by name. Add yours with one line."""

NO_MODEL = "none"
"""The model of the controls that need none."""
