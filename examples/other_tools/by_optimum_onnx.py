"""In optimum-onnx's environment: SOURCE TARGET fp32|int8."""

import sys

from optimum.onnxruntime import ORTModelForSequenceClassification, ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig

source, target, how = sys.argv[1:]
model = ORTModelForSequenceClassification.from_pretrained(source, export=True)
if how == "fp32":
    model.save_pretrained(target)
else:
    dynamic = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
    ORTQuantizer.from_pretrained(model).quantize(save_dir=target, quantization_config=dynamic)
