"""The fields of a model's config, as npgpt has them and as others write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# ours, and the names of transformers' GPT2Config, nanoGPT's GPTConfig, OpenAI's hparams.json
FIELDS = (
    ("vocab_size", ("vocab_size", "n_vocab")),
    ("context_length", ("n_positions", "block_size", "n_ctx")),
    ("n_layers", ("n_layer",)),
    ("n_heads", ("n_head",)),
    ("d_model", ("n_embd",)),
)
# the fields of ours that a GPT-2 may choose; the others have one value in every GPT-2
GPT2_FIELDS = (
    *(ours for ours, _ in FIELDS),
    *("d_ff", "dropout", "bias", "tie_embeddings", "layer_norm_eps", "activation"),
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


def config_fields(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Translate a ``config.json`` to the fields of a `npgpt.GPTConfig`.

    Understood are ``GPT2Config`` of transformers (``model_type`` is ``gpt2``), nanoGPT's model
    arguments (``block_size``) and OpenAI's ``hparams.json`` (``n_ctx``).

    Parameters
    ----------
    content : mapping
        The JSON object.
    where : str
        The file, for errors.

    Raises
    ------
    ValueError
        If a field is missing or has no number, the model is not a GPT-2, or it makes a choice that
        npgpt does not have.

    Notes
    -----
    GPT-2 in transformers has three dropout probabilities; npgpt's single one is ``resid_pdrop``.
    """
    model_type = content.get("model_type", "gpt2")
    if model_type != "gpt2":
        raise ValueError(f"{where} describes a {model_type!r} model; npgpt loads GPT-2 ('gpt2').")
    activation = content.get("activation_function", "gelu_new")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(
            f"{where}: activation_function {activation!r} is not known; npgpt's GPT-2 has "
            f"{', '.join(ACTIVATIONS)}."
        )
    for name, only in FIXED.items():
        if content.get(name, only) != only:
            raise ValueError(f"{where}: {name} must be {only}, got {content[name]!r}.")
    fields = {ours: _number(content, names, where) for ours, names in FIELDS}
    return {
        **fields,
        "d_ff": content.get("n_inner"),
        "dropout": _real(content, ("resid_pdrop", "dropout"), 0.0, where),
        "bias": bool(content.get("bias", True)),  # nanoGPT's; GPT2Config always has them
        "tie_embeddings": bool(content.get("tie_word_embeddings", True)),
        "layer_norm_eps": _real(content, ("layer_norm_epsilon",), 1e-5, where),
        "activation": ACTIVATIONS[activation],
    }


def config_json(
    fields: Mapping[str, Any], end_of_text_id: int | None, dtype: str
) -> dict[str, Any]:
    """Write the fields of a `npgpt.GPTConfig` as transformers' ``GPT2Config`` reads them.

    Parameters
    ----------
    fields : mapping
        Its activation is one that `ACTIVATIONS` knows.
    end_of_text_id : int or None
    dtype : str
        Of the weights, "float32" for one.
    """
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": fields["vocab_size"],
        "n_positions": fields["context_length"],
        "n_ctx": fields["context_length"],
        "n_layer": fields["n_layers"],
        "n_head": fields["n_heads"],
        "n_embd": fields["d_model"],
        "n_inner": fields["d_ff"],
        "activation_function": next(
            theirs for theirs, ours in ACTIVATIONS.items() if ours == fields["activation"]
        ),
        "resid_pdrop": fields["dropout"],
        "embd_pdrop": fields["dropout"],
        "attn_pdrop": fields["dropout"],
        "layer_norm_epsilon": fields["layer_norm_eps"],
        "tie_word_embeddings": fields["tie_embeddings"],
        "bos_token_id": end_of_text_id,
        "eos_token_id": end_of_text_id,
        "dtype": dtype,
    }


def _number(content: Mapping[str, Any], names: tuple[str, ...], where: str) -> int:
    for name in names:
        if name in content:
            number = content[name]
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise ValueError(f"{where}: {name} must be a positive integer, got {number!r}.")
            return number
    raise ValueError(f"{where} has no {' or '.join(names)}.")


def _real(content: Mapping[str, Any], names: tuple[str, ...], default: float, where: str) -> float:
    for name in names:
        if name in content:
            number = content[name]
            if not isinstance(number, (int, float)) or isinstance(number, bool):
                raise ValueError(f"{where}: {name} must be a number, got {number!r}.")
            return float(number)
    return default
