"""In optimum-intel's environment: SOURCE TARGET fp32|int8 TEXTS."""

import json
import sys

from datasets import Dataset
from optimum.intel import (
    OVConfig,
    OVModelForSequenceClassification,
    OVQuantizationConfig,
    OVQuantizer,
)
from transformers import AutoTokenizer

source, target, how, file = sys.argv[1:]
model = OVModelForSequenceClassification.from_pretrained(source, export=True)
if how == "fp32":
    model.save_pretrained(target)
else:
    with open(file) as opened:
        texts = json.load(opened)
    tokenizer = AutoTokenizer.from_pretrained(source)
    rows = [tokenizer(text, truncation=True, return_token_type_ids=True) for text in texts]
    OVQuantizer.from_pretrained(model).quantize(
        ov_config=OVConfig(quantization_config=OVQuantizationConfig(num_samples=len(texts))),
        calibration_dataset=Dataset.from_list([dict(row) for row in rows]),
        save_directory=target,
    )
