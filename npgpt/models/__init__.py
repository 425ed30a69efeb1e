"""Models: layers put together, with a loss."""

from npgpt.models.bert import Bert
from npgpt.models.bert_config import BertConfig
from npgpt.models.config import GPTConfig
from npgpt.models.convolutional import ConvolutionalConfig, ConvolutionalLM
from npgpt.models.gpt import GPT
from npgpt.models.memory import MemoryPlan
from npgpt.models.model import MODELS, LanguageModel, Model, ModelConfig, Trainable, register
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
from npgpt.models.sentence_vectors import sentence_vectors
from npgpt.models.stateful import StatefulModel

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
    "MemoryPlan",
    "Model",
    "ModelConfig",
    "RNNConfig",
    "RecurrentConfig",
    "RecurrentLM",
    "StatefulModel",
    "Trainable",
    "register",
    "sentence_vectors",
]
