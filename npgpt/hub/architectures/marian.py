"""MarianMT as Hugging Face writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from npgpt.hub.architectures.architecture import (
    Fields,
    activation_of,
    by_plain_name,
    check_fixed,
    check_num_blocks,
    positive_integer,
    real,
)
from npgpt.hub.weights import Layout, Shape, Shapes, Weight, WeightSource


class Line(NamedTuple):
    """A part of a block that has a weight and a bias.

    Attributes
    ----------
    ours : str
    theirs : tuple of str
        Of the parts of a file that ours is made of.
    shape : tuple of str
        Of each; the words are fields of the config. Of a norm, one word.
    """

    ours: str
    theirs: tuple[str, ...]
    shape: tuple[str, ...]


def part(ours: str, theirs: str, *shape: str) -> Line:
    """Return the line of a part that is one in the file too."""
    return Line(ours, (theirs,), shape)


SQUARE = ("d_model", "d_model")
BLOCK = (
    Line("attention.qkv", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), SQUARE),
    part("attention.projection", "self_attn.out_proj", *SQUARE),
    part("attention_norm", "self_attn_layer_norm", "d_model"),
    part("feed_forward.up", "fc1", "d_ff", "d_model"),
    part("feed_forward.down", "fc2", "d_model", "d_ff"),
    part("feed_forward_norm", "final_layer_norm", "d_model"),
)
CROSS = (
    part("cross_attention.q", "encoder_attn.q_proj", *SQUARE),
    Line("cross_attention.kv", ("encoder_attn.k_proj", "encoder_attn.v_proj"), SQUARE),
    part("cross_attention.projection", "encoder_attn.out_proj", *SQUARE),
    part("cross_attention_norm", "encoder_attn_layer_norm", "d_model"),
)
SHARED, HEAD, HEAD_BIAS = "model.shared.weight", "lm_head.weight", "final_logits_bias"
TABLES = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")

WRAPPERS = r"((module|_orig_mod)\.)*"  # PyTorch's, which stand before every name

# ours, and what MarianConfig says twice, once for the encoder and once for the decoder
BOTH_SIDES = (("n_heads", "{}_attention_heads"), ("d_ff", "{}_ffn_dim"))
# MarianConfig's names of activations, and ours; of several names for one, the first is written
ACTIVATIONS = {
    "swish": "silu",
    "silu": "silu",
    "relu": "relu",
    "gelu": "gelu_exact",
    "gelu_new": "gelu",
    "gelu_pytorch_tanh": "gelu",
}
# choices that change what is computed, and the only value that is known here; the last ones are of
# configs written for earlier versions of transformers
FIXED = {
    "is_encoder_decoder": True,
    "is_decoder": False,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "normalize_before": False,
    "normalize_embedding": False,
    "add_final_layer_norm": False,
    "add_bias_logits": False,
    "static_position_embeddings": True,
    "extra_pos_embeddings": 0,
}
# what a MarianMT always has
OURS = {
    "sinusoids": "halves",
    "head_bias": True,
    "norm_position": "post",
    "position": "sinusoidal",
}


class Marian:
    """Junczys-Dowmunt et al. 2018, arXiv 1804.00344, in ``MarianConfig`` and ``MarianMTModel``.

    Notes
    -----
    MarianMT in transformers has three dropout probabilities; npgpt's single one is ``dropout``.
    There ``final_logits_bias`` is not trained, and nor is the row of the padding token, with which
    targets begin, as an input; here both are parameters like others.
    """

    name, model_type, kind = "MarianMT", "marian", "transformer"
    of_arrays = frozenset({"head_bias"})
    # positions, which are computed, and the other names of shared tables
    passed_over = re.compile(
        rf"{WRAPPERS}(model\.(en|de)coder\.embed_(positions|tokens)|model\.shared|lm_head)\.weight"
    )

    def fields(self, content: Fields, where: str) -> dict[str, Any]:
        """Translate the content of a config to fields of a `npgpt.models.TransformerConfig`."""
        activation = activation_of(
            content, "activation_function", "gelu", ACTIVATIONS, where, "MarianMT"
        )
        check_fixed(content, FIXED, where)
        fields: dict[str, Any] = {}
        for ours, theirs in BOTH_SIDES:
            names = theirs.format("encoder"), theirs.format("decoder")
            values = [positive_integer(content, (name,), where) for name in names]
            if values[0] != values[1]:
                raise ValueError(
                    f"{where}: {names[0]} and {names[1]} must be equal, got {values[0]} and "
                    f"{values[1]}."
                )
            fields[ours] = values[0]
        source = positive_integer(content, ("vocab_size",), where)
        target = source
        if content.get("decoder_vocab_size") is not None:
            target = positive_integer(content, ("decoder_vocab_size",), where)
        tied = bool(content.get("tie_word_embeddings", True))
        # what is called shared is one table only where tables are tied at all
        shared = bool(content.get("share_encoder_decoder_embeddings", True)) and tied
        if shared and source != target:
            raise ValueError(
                f"{where}: decoder_vocab_size must be the vocab_size where embeddings are shared, "
                f"got {target} and {source}."
            )
        return {
            **fields,
            **OURS,
            "vocab_size": target,
            "source_vocab_size": None if source == target else source,
            "context_length": positive_integer(content, ("max_position_embeddings",), where),
            "n_layers": positive_integer(content, ("decoder_layers",), where),
            "n_encoder_layers": positive_integer(content, ("encoder_layers",), where),
            "d_model": positive_integer(content, ("d_model",), where),
            "dropout": real(content, ("dropout",), 0.1, where),
            "label_smoothing": real(content, ("label_smoothing",), 0.0, where),
            "activation": activation,
            "scale_embeddings": bool(content.get("scale_embedding", False)),
            "share_embeddings": shared,
            "tie_embeddings": tied,
        }

    def content(self, fields: Fields) -> dict[str, Any]:
        """Write the fields as ``MarianConfig`` reads them, and ``label_smoothing`` beside them."""
        activations = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
        sizes = {**fields, "d_ff": _d_ff(fields)}
        both = {
            theirs.format(side): sizes[ours]
            for ours, theirs in BOTH_SIDES
            for side in ("encoder", "decoder")
        }
        smoothing = fields["label_smoothing"]
        return {
            "architectures": ["MarianMTModel"],
            "model_type": self.model_type,
            "is_encoder_decoder": True,
            **both,
            "vocab_size": _source_vocab_size(fields),
            "decoder_vocab_size": fields["vocab_size"],
            "max_position_embeddings": fields["context_length"],
            "decoder_layers": fields["n_layers"],
            "encoder_layers": _n_encoder_layers(fields),
            "d_model": fields["d_model"],
            "dropout": fields["dropout"],
            "attention_dropout": fields["dropout"],
            "activation_dropout": 0.0,
            **({"label_smoothing": smoothing} if smoothing else {}),
            "activation_function": activations.get(fields["activation"], "swish"),
            "scale_embedding": fields["scale_embeddings"],
            "share_encoder_decoder_embeddings": fields["share_embeddings"],
            "tie_word_embeddings": fields["tie_embeddings"],
        }

    def with_arrays(self, fields: Fields, source: WeightSource, where: str, dtype: Any) -> Fields:
        """Say whether a file has ``final_logits_bias``, without which transformers adds zeros.

        Parameters
        ----------
        fields, source, where, dtype
            As of `Architecture.with_arrays`.
        """
        return {**fields, "head_bias": HEAD_BIAS in by_plain_name(plain_name, source.shapes, where)}

    def weights(self, fields: Fields) -> Iterator[Weight]:
        """List the arrays of a ``MarianMTModel``."""
        return _weights({**fields, "head_bias": True})

    def weights_in(self, fields: Fields, shapes: Shapes, where: str) -> Iterator[Weight]:
        """List the arrays as a file names them: a shared table may have the name of any use."""
        found = by_plain_name(plain_name, shapes, where)
        for side, count in (
            ("encoder", _n_encoder_layers(fields)),
            ("decoder", fields["n_layers"]),
        ):
            numbers = (re.match(rf"model\.{side}\.layers\.(\d+)\.", name) for name in found)
            example = f"a MarianMT's {side} (model.{side}.layers.0.fc1.weight)"
            check_num_blocks({"n_layers": count}, numbers, shapes, where, example)
        uses = {SHARED: (*TABLES, HEAD), TABLES[1]: (HEAD,) if fields["tie_embeddings"] else ()}
        for name, others in uses.items():
            there = [other for other in others if other in found]
            if name not in found and there:
                found[name] = found[there[0]]
        for weight in _weights(fields):
            yield weight._replace(theirs=tuple(found.get(name, name) for name in weight.theirs))


def plain_name(name: str) -> str:
    """Take off what PyTorch's wrappers have put before a name."""
    return re.sub(WRAPPERS, "", name, count=1)


def _d_ff(fields: Fields) -> int:
    return fields.get("d_ff") or 4 * fields["d_model"]


def _n_encoder_layers(fields: Fields) -> int:
    return fields.get("n_encoder_layers") or fields["n_layers"]


def _source_vocab_size(fields: Fields) -> int:
    return fields.get("source_vocab_size") or fields["vocab_size"]


def _weights(fields: Fields) -> Iterator[Weight]:
    """List the arrays of a model of these fields by their plain names."""
    d_model = fields["d_model"]
    tables: list[tuple[str, str, int]] = []
    if fields["share_embeddings"]:
        tables.append(("source.embedding.weight", SHARED, fields["vocab_size"]))
    else:
        tables.append(("source.embedding.weight", TABLES[0], _source_vocab_size(fields)))
        tables.append(("target.embedding.weight", TABLES[1], fields["vocab_size"]))
    if not fields["tie_embeddings"]:
        tables.append(("head.weight", HEAD, fields["vocab_size"]))
    for ours, theirs, rows in tables:
        yield Weight(ours, (theirs,), ((rows, d_model),))
    sides = (
        ("encoder", _n_encoder_layers(fields), BLOCK),
        ("decoder", fields["n_layers"], (*BLOCK, *CROSS)),
    )
    sizes = {"d_model": d_model, "d_ff": _d_ff(fields)}
    for side, count, lines in sides:
        for i in range(count):
            for line in lines:
                yield from _of_line(line, f"{side}.blocks.{i}.", f"model.{side}.layers.{i}.", sizes)
    if fields["head_bias"]:
        yield Weight("head.bias", (HEAD_BIAS,), ((fields["vocab_size"],),), Layout.ROW)


def _of_line(line: Line, ours: str, theirs: str, sizes: dict[str, int]) -> Iterator[Weight]:
    shape: Shape = tuple(sizes[word] for word in line.shape)
    names = ("gamma", "beta") if len(shape) == 1 else ("weight", "bias")
    for name, kind, of_array in zip(names, ("weight", "bias"), (shape, shape[:1]), strict=True):
        parts = tuple(f"{theirs}{one}.{kind}" for one in line.theirs)
        yield Weight(f"{ours}{line.ours}.{name}", parts, (of_array,) * len(parts))
