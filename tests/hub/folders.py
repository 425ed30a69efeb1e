"""Folders in Hugging Face's format, and what others write, made from small models."""

import json
import struct

import numpy as np
from safetensors.numpy import load_file, save_file

from npgpt.models import GPT, GPTConfig
from npgpt.tokenizers import BPETokenizer
from tests.models.tiny import shaken_model

TOKENIZER = BPETokenizer.train(["the cat sat on the mat. " * 20], vocab_size=270)
CONFIG = GPTConfig(vocab_size=270, context_length=16, n_layers=2, n_heads=2, d_model=8, d_ff=20)


def small_model(dtype=np.float32, **changes) -> GPT:
    """Make a model in which no parameter is where it starts."""
    fields = {**CONFIG.to_dict(), **changes}
    return shaken_model(GPTConfig(**fields), seed=5, dtype=dtype).eval()


def saved(folder, **changes):
    """Save a small model; returns the folder and the model."""
    model = small_model(**changes)
    model.save_pretrained(folder, TOKENIZER)
    return folder, model


def rewrite_arrays(folder, change):
    """Put ``change(arrays)`` in place of the arrays of ``model.safetensors``."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def rewrite_json(path, change):
    """Put ``change(content)`` in place of the content of a JSON file."""
    path.write_text(json.dumps(change(json.loads(path.read_text()))), encoding="utf-8")


def write_tensors(path, arrays, dtype):
    """Write a safetensors file by hand: NumPy has no bfloat16 that the library would take."""
    header, begin = {}, 0
    for name, array in arrays.items():
        end = begin + array.nbytes
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    data = b"".join(array.tobytes() for array in arrays.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
