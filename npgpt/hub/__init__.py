"""Hugging Face's format, in and out: what files, names and fields mean there.

Nothing here knows a model. `names` is the table between parameter names, `config_json` the one
between config fields, `tensor_files` reads and writes arrays, and `download` fetches a folder
from the hub.
"""

from npgpt.hub.config_json import ACTIVATIONS, GPT2_FIELDS, config_fields, config_json
from npgpt.hub.download import TOKENIZER_FILES, fetch
from npgpt.hub.names import NAMES, Name, Source, export_arrays, match_names
from npgpt.hub.tensor_files import SHARD, TensorFiles, read_json, save_tensors

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
