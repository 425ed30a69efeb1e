"""Models: layers put together, with a loss."""

from npgpt.models.bert import Bert
from npgpt.models.bert_config import BertConfig
from npgpt.models.config import GPTConfig
from npgpt.models.convolutional import ConvolutionalConfig, ConvolutionalLM
from npgpt.models.gpt import GPT
from npgpt.models.memory import MemoryPlan
from npgpt.models.model import (
    MODELS,
    LanguageModel,
    MaskedBatch,
    Model,
    ModelConfig,
    PairBatch,
    TokenBatch,
    Trainable,
    register,
)
from npgpt.models.objectives.bert_classification import (
    BertForClassification,
    BertForTokenClassification,
)
from npgpt.models.objectives.classification import GPTForClassification
from npgpt.models.objectives.preference import GPTForPreference
from npgpt.models.recurrent import (
    GRULM,
    LSTMLM,
    RNNLM,
    GRUConfig,
    LSTMConfig,
    RecurrentConfig,
    RecurrentLM,
    RNNConfig,
)
from npgpt.models.rnn_attention import RNNAttention, RNNAttentionConfig
from npgpt.models.rnn_encoder_decoder import RNNEncoderDecoder, RNNEncoderDecoderConfig
from npgpt.models.sentence_vectors import sentence_vectors
from npgpt.models.sequence_to_sequence import (
    SequenceToSequence,
    SequenceToSequenceConfig,
    translators,
)
from npgpt.models.stateful import StatefulModel
from npgpt.models.transformer import Transformer, TransformerConfig

__all__ = [
    "GPT",
    "GRULM",
    "LSTMLM",
    "MODELS",
    "RNNLM",
    "Bert",
    "BertConfig",
    "BertForClassification",
    "BertForTokenClassification",
    "ConvolutionalConfig",
    "ConvolutionalLM",
    "GPTConfig",
    "GPTForClassification",
    "GPTForPreference",
    "GRUConfig",
    "LSTMConfig",
    "LanguageModel",
    "MaskedBatch",
    "MemoryPlan",
    "Model",
    "ModelConfig",
    "PairBatch",
    "RNNAttention",
    "RNNAttentionConfig",
    "RNNConfig",
    "RNNEncoderDecoder",
    "RNNEncoderDecoderConfig",
    "RecurrentConfig",
    "RecurrentLM",
    "SequenceToSequence",
    "SequenceToSequenceConfig",
    "StatefulModel",
    "TokenBatch",
    "Trainable",
    "Transformer",
    "TransformerConfig",
    "register",
    "sentence_vectors",
    "translators",
]
