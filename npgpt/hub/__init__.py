"""Models as others write them: folders, files, configs, and the hub they are fetched from.

A `WeightSource` is whatever holds arrays: the files of `containers`, and a `folder` of them. An
`Architecture`, in `architectures`, knows what they are called there and here, and how they are
laid; nothing else knows a model. `download` fetches a folder from the hub.
"""

from npgpt.hub.architectures import (
    ARCHITECTURES,
    Architecture,
    export_arrays,
    match_weights,
    with_head_of_file,
)
from npgpt.hub.download import TOKENIZER_FILES, fetch
from npgpt.hub.earlier import (
    ACTIVATIONS,
    GPT2_FIELDS,
    NAMES,
    Name,
    Source,
    config_fields,
    config_json,
    match_names,
)
from npgpt.hub.folder import (
    SHARD,
    TensorFiles,
    new_folder,
    read_config,
    read_json,
    save_tensors,
    write_json,
)
from npgpt.hub.generation_config import GenerationIds, read_generation_ids
from npgpt.hub.translating import read_translating, translating_content
from npgpt.hub.weights import Layout, Weight, WeightSource

__all__ = [
    "ACTIVATIONS",
    "ARCHITECTURES",
    "GPT2_FIELDS",
    "NAMES",
    "SHARD",
    "TOKENIZER_FILES",
    "Architecture",
    "GenerationIds",
    "Layout",
    "Name",
    "Source",
    "TensorFiles",
    "Weight",
    "WeightSource",
    "config_fields",
    "config_json",
    "export_arrays",
    "fetch",
    "match_names",
    "match_weights",
    "new_folder",
    "read_config",
    "read_generation_ids",
    "read_json",
    "read_translating",
    "save_tensors",
    "translating_content",
    "with_head_of_file",
    "write_json",
]
