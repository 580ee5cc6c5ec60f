"""In model2vec's environment: the encoder SOURCE to a table of static embeddings, TARGET."""

import sys

from model2vec.distill import distill

source, target = sys.argv[1:]
distill(source, pca_dims=256).save_pretrained(target)
