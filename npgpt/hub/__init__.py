"""Hugging Face's format, in and out: what files, names and fields mean there.

`containers` read and write arrays, `architectures` know what a model's arrays and config fields are
called, and `download` fetches a folder from the hub.
"""

from npgpt.hub.architectures.gpt2 import NAMES, Name, Source, export_arrays, match_names
from npgpt.hub.architectures.gpt2_config import ACTIVATIONS, GPT2_FIELDS, config_fields, config_json
from npgpt.hub.containers.safetensors import SHARD, TensorFiles, read_json, save_tensors
from npgpt.hub.download import TOKENIZER_FILES, fetch

__all__ = [
    "ACTIVATIONS",
    "GPT2_FIELDS",
    "NAMES",
    "SHARD",
    "TOKENIZER_FILES",
    "Name",
    "Source",
    "TensorFiles",
    "config_fields",
    "config_json",
    "export_arrays",
    "fetch",
    "match_names",
    "read_json",
    "save_tensors",
]
