"""GPT-2 as Hugging Face, nanoGPT and OpenAI write it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from npgpt.hub.architectures.architecture import (
    Fields,
    activation_of,
    by_plain_name,
    check_fixed,
    check_num_blocks,
    positive_integer,
    real,
    with_head_of_file,
)
from npgpt.hub.weights import Layout, Shape, Shapes, Weight, WeightSource


@dataclasses.dataclass(frozen=True)
class Name:
    """One line of the table.

    Attributes
    ----------
    ours, hugging_face, openai : str
        ``{}`` stands for the number of the block.
    shape : tuple of str
        Of our array; the words are fields of the config.
    transposed : bool
        Hugging Face's ``Conv1D`` and OpenAI's files keep the matrix as (in, out). nanoGPT, which
        has Hugging Face's names, keeps it as we do, (out, in).
    """

    ours: str
    hugging_face: str
    openai: str
    shape: tuple[str, ...]
    transposed: bool = False


def block(ours: str, hugging_face: str, openai: str, *shape: str) -> Name:
    """Return the line of an array that every block has."""
    transposed = len(shape) == 2
    return Name("blocks.{}." + ours, "h.{}." + hugging_face, "h{}/" + openai, shape, transposed)


# parameters here, the arrays of GPT-2's files, and their shapes in fields of the config
NAMES = (
    Name("token_embedding.weight", "wte.weight", "wte", ("vocab_size", "d_model")),
    Name("position_embedding.weight", "wpe.weight", "wpe", ("context_length", "d_model")),
    block("attention_norm.gamma", "ln_1.weight", "ln_1/g", "d_model"),
    block("attention_norm.beta", "ln_1.bias", "ln_1/b", "d_model"),
    block("attention.qkv.weight", "attn.c_attn.weight", "attn/c_attn/w", "3 d_model", "d_model"),
    block("attention.qkv.bias", "attn.c_attn.bias", "attn/c_attn/b", "3 d_model"),
    block(
        "attention.projection.weight", "attn.c_proj.weight", "attn/c_proj/w", "d_model", "d_model"
    ),
    block("attention.projection.bias", "attn.c_proj.bias", "attn/c_proj/b", "d_model"),
    block("feed_forward_norm.gamma", "ln_2.weight", "ln_2/g", "d_model"),
    block("feed_forward_norm.beta", "ln_2.bias", "ln_2/b", "d_model"),
    block("feed_forward.up.weight", "mlp.c_fc.weight", "mlp/c_fc/w", "d_ff", "d_model"),
    block("feed_forward.up.bias", "mlp.c_fc.bias", "mlp/c_fc/b", "d_ff"),
    block("feed_forward.down.weight", "mlp.c_proj.weight", "mlp/c_proj/w", "d_model", "d_ff"),
    block("feed_forward.down.bias", "mlp.c_proj.bias", "mlp/c_proj/b", "d_model"),
    Name("final_norm.gamma", "ln_f.weight", "ln_f/g", ("d_model",)),
    Name("final_norm.beta", "ln_f.bias", "ln_f/b", ("d_model",)),
    Name("head.weight", "lm_head.weight", "lm_head", ("vocab_size", "d_model")),
)
HEAD = NAMES[-1]
TIED = (NAMES[0].hugging_face, HEAD.hugging_face)

# What names begin with depends on who saved the file: transformers with a head on the model, a
# trainer that held it as `model`, the variable scope of OpenAI's checkpoints.
PREFIX = re.compile(r"((base_model|model|transformer)\.)*(model/)?")
# What wraps a model, or a part of it: DataParallel and DistributedDataParallel, torch.compile,
# fully sharded data parallelism, checkpointed activations.
WRAPPERS = r"((module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)*"
WRAPPED = re.compile(r"(?<![^.])" + WRAPPERS)
NANOGPT_LENGTH = "block_size"  # no other config has this name

# ours, and the names of transformers' GPT2Config, nanoGPT's GPTConfig, OpenAI's hparams.json
FIELDS = (
    ("vocab_size", ("vocab_size", "n_vocab")),
    ("context_length", ("n_positions", NANOGPT_LENGTH, "n_ctx")),
    ("n_layers", ("n_layer",)),
    ("n_heads", ("n_head",)),
    ("d_model", ("n_embd",)),
)
# GPT2Config's names of activations, and ours; of several names for one, the first is written
ACTIVATIONS = {
    "gelu_new": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "gelu_fast": "gelu",
    "gelu": "gelu_exact",
    "relu": "relu",
}
# choices of GPT2Config that change what is computed, and the only value that is known here
FIXED = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}


class GPT2:
    """Radford et al. 2019, in ``GPT2Config`` and ``GPT2LMHeadModel`` of transformers.

    Read are also nanoGPT's model arguments (``block_size``) and OpenAI's ``hparams.json``
    (``n_ctx``), and the arrays beside them.

    Notes
    -----
    GPT-2 in transformers has three dropout probabilities; npgpt's single one is ``resid_pdrop``.
    """

    name, model_type, kind = "GPT-2", "gpt2", "gpt"
    of_arrays: frozenset[str] = frozenset()
    # the causal mask, which nanoGPT and early versions of transformers save, and a tied head
    passed_over = re.compile(
        rf"(.*[./])?(h\.\d+\.{WRAPPERS}attn\.{WRAPPERS}(masked_)?bias|lm_head(\.weight)?)"
    )

    def fields(self, content: Fields, where: str) -> dict[str, Any]:
        """Translate the content of a config to fields of a `npgpt.GPTConfig`.

        nanoGPT's names no activation: since June 2023 its model has ``nn.GELU()``, the exact one.
        What an older one was trained with, the tanh form, nothing in its files says.
        """
        nanogpt = NANOGPT_LENGTH in content and "n_positions" not in content
        default = "gelu" if nanogpt else "gelu_new"
        activation = activation_of(
            content, "activation_function", default, ACTIVATIONS, where, "GPT-2"
        )
        check_fixed(content, FIXED, where)
        fields = {ours: positive_integer(content, names, where) for ours, names in FIELDS}
        return {
            **fields,
            "d_ff": content.get("n_inner"),
            "dropout": real(content, ("resid_pdrop", "dropout"), 0.0, where),
            "bias": bool(content.get("bias", True)),  # nanoGPT's; GPT2Config always has them
            "tie_embeddings": bool(content.get("tie_word_embeddings", True)),
            "layer_norm_eps": real(content, ("layer_norm_epsilon",), 1e-5, where),
            "activation": activation,
        }

    def content(self, fields: Fields) -> dict[str, Any]:
        """Write the fields as ``GPT2Config`` reads them."""
        activations = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": self.model_type,
            "vocab_size": fields["vocab_size"],
            "n_positions": fields["context_length"],
            "n_ctx": fields["context_length"],
            "n_layer": fields["n_layers"],
            "n_head": fields["n_heads"],
            "n_embd": fields["d_model"],
            "n_inner": fields["d_ff"],
            "activation_function": activations.get(fields["activation"], "gelu_new"),
            "resid_pdrop": fields["dropout"],
            "embd_pdrop": fields["dropout"],
            "attn_pdrop": fields["dropout"],
            "layer_norm_epsilon": fields["layer_norm_eps"],
            "tie_word_embeddings": fields["tie_embeddings"],
        }

    def with_arrays(self, fields: Fields, source: WeightSource, where: str, dtype: Any) -> Fields:
        """Untie the head if a file holds one of its own; see `with_head_of_file`."""
        return with_head_of_file(self, fields, source, where, dtype)

    def weights(self, fields: Fields) -> Iterator[Weight]:
        """List the arrays of a ``GPT2LMHeadModel``, which has every bias."""
        for line, ours, theirs, shape in _lines({**fields, "bias": True}, openai=False):
            layout = Layout.TRANSPOSED if line.transposed else Layout.AS_OURS
            prefix = "" if line is HEAD else "transformer."
            yield Weight(ours, (prefix + theirs,), (shape,), layout)

    def weights_in(self, fields: Fields, shapes: Shapes, where: str) -> Iterator[Weight]:
        """List the arrays by the names of Hugging Face (and nanoGPT) or OpenAI, as they are laid.

        nanoGPT, which has Hugging Face's names, keeps matrices as we do; its ``c_attn`` is higher
        than wide. Of two arrays that are tied a file may hold only the head.
        """
        found = by_plain_name(plain_name, shapes, where)
        if fields["tie_embeddings"] and TIED[0] not in found and TIED[1] in found:
            found[TIED[0]] = found[TIED[1]]
        numbers = (re.match(r"h\.?(\d+)[./]", name) for name in found)
        example = "a GPT-2's block (h.0.ln_1.weight, model/h0/ln_1/g)"
        check_num_blocks(fields, numbers, shapes, where, example)
        openai = any("/" in name for name in shapes)
        attention = found.get("h0/attn/c_attn/w" if openai else "h.0.attn.c_attn.weight", "")
        shape = shapes.get(attention, ())
        as_ours = len(shape) == 2 and shape[0] > shape[1]
        for line, ours, theirs, shape in _lines(fields, openai):
            name = found.get(theirs, theirs)
            layout = Layout.AS_OURS
            if line.transposed and not as_ours:
                # OpenAI's matrices are those of a convolution of width 1
                convolution = len(shapes.get(name, ())) == 3
                layout = Layout.CONVOLUTION if convolution else Layout.TRANSPOSED
            yield Weight(ours, (name,), (shape,), layout)


def plain_name(name: str) -> str:
    """Take off what whoever saved a file has put before, and into, an array's name.

    Examples
    --------
    >>> plain_name("module.transformer.h.0._orig_mod.ln_1.weight")
    'h.0.ln_1.weight'
    """
    return PREFIX.sub("", WRAPPED.sub("", name), 1)


def _lines(fields: Fields, openai: bool) -> Iterator[tuple[Name, str, str, Shape]]:
    """Yield (line of the table, our name, their name, our shape) for a model of these fields."""
    d_model = fields["d_model"]
    sizes = {**fields, "3 d_model": 3 * d_model, "d_ff": fields.get("d_ff") or 4 * d_model}
    for line in NAMES:
        if not fields["bias"] and line.ours.endswith((".bias", ".beta")):
            continue
        if line is HEAD and fields["tie_embeddings"]:
            continue  # the same matrix as the token embedding's
        theirs = line.openai if openai else line.hugging_face
        shape = tuple(sizes[word] for word in line.shape)
        for i in range(fields["n_layers"] if "{}" in theirs else 1):
            yield line, line.ours.format(i), theirs.format(i), shape
