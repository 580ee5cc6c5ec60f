"""In neural-compressor's environment: a file of ONNX in fp32, SOURCE, to int8, TARGET."""

import sys

from neural_compressor import PostTrainingQuantConfig, quantization

source, target = sys.argv[1:]
quantization.fit(f"{source}/model.onnx", PostTrainingQuantConfig(approach="dynamic")).save(
    f"{target}/model.onnx"
)
