"""Every compression method, one a file; recipes chain them, and the store keeps what they make."""

from compressors.as_is import AsIs
from compressors.bf16 import Bf16
from compressors.cascade import Cascade
from compressors.compile import Compile
from compressors.distill import Distill
from compressors.distill_ensemble import DistillEnsemble
from compressors.distill_into import DistillInto
from compressors.distill_logits import DistillLogits
from compressors.distill_long import DistillLong
from compressors.distill_relations import DistillRelations
from compressors.distill_tiny import DistillTiny
from compressors.drop_layers import DropLayers
from compressors.features import Features
from compressors.finetune import Finetune
from compressors.fp8 import Fp8
from compressors.fp16 import Fp16
from compressors.heal import Heal
from compressors.int4_weights import Int4Weights
from compressors.int8 import Int8
from compressors.int8_compiled import Int8Compiled
from compressors.int8_weights import Int8Weights
from compressors.logistic import Logistic
from compressors.lora import Lora
from compressors.majority import Majority
from compressors.max_tokens import MaxTokens
from compressors.onnx_export import OnnxExport
from compressors.onnx_int4 import OnnxInt4
from compressors.onnx_int8 import OnnxInt8
from compressors.onnx_int8_static import OnnxInt8Static
from compressors.openvino_bf16 import OpenVinoBf16
from compressors.openvino_export import OpenVinoExport
from compressors.openvino_int4 import OpenVinoInt4
from compressors.openvino_int8 import OpenVinoInt8
from compressors.pca import Pca
from compressors.prune_2of4 import Prune2of4
from compressors.prune_ffn import PruneFfn
from compressors.prune_heads import PruneHeads
from compressors.prune_magnitude import PruneMagnitude
from compressors.prune_movement import PruneMovement
from compressors.prune_wanda import PruneWanda
from compressors.prune_width import PruneWidth
from compressors.qat_int8 import QatInt8
from compressors.relu import Relu
from compressors.static_embeddings import StaticEmbeddings
from compressors.step import Step
from compressors.student import Student
from compressors.student_long import StudentLong
from compressors.svd import Svd
from compressors.svd_embeddings import SvdEmbeddings
from compressors.svd_plain import SvdPlain
from compressors.tfidf_logistic import TfidfLogistic
from compressors.trim_vocab import TrimVocab
from compressors.trim_vocab_train import TrimVocabTrain
from compressors.tutor import Tutor
from compressors.zip import Zip

STEPS: dict[str, type[Step]] = {
    step.name: step
    for step in (
        Finetune,
        AsIs,
        Distill,
        DistillLong,
        DistillEnsemble,
        DistillLogits,
        DistillTiny,
        DistillRelations,
        DistillInto,
        Tutor,
        Heal,
        Student,
        StudentLong,
        PruneFfn,
        PruneHeads,
        PruneWidth,
        DropLayers,
        Relu,
        Svd,
        SvdPlain,
        SvdEmbeddings,
        PruneMagnitude,
        PruneWanda,
        PruneMovement,
        Prune2of4,
        TrimVocab,
        TrimVocabTrain,
        MaxTokens,
        Bf16,
        Int8,
        Int8Compiled,
        Int8Weights,
        Int4Weights,
        QatInt8,
        Fp16,
        Fp8,
        Compile,
        OnnxExport,
        OnnxInt8,
        OnnxInt8Static,
        OnnxInt4,
        OpenVinoExport,
        OpenVinoBf16,
        OpenVinoInt8,
        OpenVinoInt4,
        Cascade,
        Zip,
        Features,
        Pca,
        Logistic,
        StaticEmbeddings,
        Lora,
        Majority,
        TfidfLogistic,
    )
}
"""Every step that a recipe can name. Add yours with one line."""
