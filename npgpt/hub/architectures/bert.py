"""BERT as Hugging Face writes it."""

from __future__ import annotations

import re
import warnings
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
    with_head_of_file,
)
from npgpt.hub.weights import Shape, Shapes, Weight, WeightSource


class Line(NamedTuple):
    """A part of the model that has a weight and a bias.

    Attributes
    ----------
    ours : str
        Of the part; ``{}`` stands for the number of the block.
    theirs : tuple of str
        Of the parts of a file that ours is made of.
    shape : tuple of str
        Of ours; the words are fields of the config. Of a norm, one word.
    """

    ours: str
    theirs: tuple[str, ...]
    shape: tuple[str, ...]


def part(ours: str, theirs: str, *shape: str) -> Line:
    """Return the line of a part that is one in the file too."""
    return Line(ours, (theirs,), shape)


def block(ours: str, theirs: str, *shape: str) -> Line:
    """Return the line of a part that every block has."""
    return part("blocks.{}." + ours, "encoder.layer.{}." + theirs, *shape)


TABLES = (
    part("token_embedding", "embeddings.word_embeddings", "vocab_size", "d_model"),
    part("position_embedding", "embeddings.position_embeddings", "context_length", "d_model"),
    part("segment_embedding", "embeddings.token_type_embeddings", "n_segments", "d_model"),
)
SELF = "encoder.layer.{}.attention.self."
ENCODER = (
    part("embedding_norm", "embeddings.LayerNorm", "d_model"),
    Line(
        "blocks.{}.attention.qkv",
        (SELF + "query", SELF + "key", SELF + "value"),
        ("d_model", "d_model"),  # of each
    ),
    block("attention.projection", "attention.output.dense", "d_model", "d_model"),
    block("attention_norm", "attention.output.LayerNorm", "d_model"),
    block("feed_forward.up", "intermediate.dense", "d_ff", "d_model"),
    block("feed_forward.down", "output.dense", "d_model", "d_ff"),
    block("feed_forward_norm", "output.LayerNorm", "d_model"),
)
POOLER = part("pooler.dense", "pooler.dense", "d_model", "d_model")
MASKED_HEAD = (
    part("head.dense", "cls.predictions.transform.dense", "d_model", "d_model"),
    part("head.norm", "cls.predictions.transform.LayerNorm", "d_model"),
)
DECODER, DECODER_BIAS = "cls.predictions.decoder.weight", "cls.predictions.bias"
OTHER_DECODER_BIAS = "cls.predictions.decoder.bias"  # the same array, where a file has this one
NEXT_SENTENCE = part("next_sentence_head", "cls.seq_relationship", "2", "d_model")
CLASSIFIER = part("classifier", "classifier", "num_classes", "d_model")

# What names begin with depends on who saved the file: transformers with a head on the model, a
# trainer or sentence-transformers, which hold it as a part, PyTorch's wrappers.
PREFIX = re.compile(r"((module|_orig_mod|model|auto_model|0|bert)\.)*")
# what a norm's weight and bias were called in files of TensorFlow's
OLD_NORM = re.compile(r"(?<=LayerNorm\.)(gamma|beta)$")
NEW = {"gamma": "weight", "beta": "bias"}

FIELDS = (
    ("vocab_size", "vocab_size"),
    ("context_length", "max_position_embeddings"),
    ("n_layers", "num_hidden_layers"),
    ("n_heads", "num_attention_heads"),
    ("d_model", "hidden_size"),
    ("d_ff", "intermediate_size"),
)
# BertConfig's names of activations, and ours; of several names for one, the first is written
ACTIVATIONS = {
    "gelu": "gelu_exact",
    "gelu_new": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "relu": "relu",
}
# choices of BertConfig that change what is computed, and the only value that is known here
FIXED = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
# the heads that transformers' classes have: for masked words, the pooler, for the next sentence
HEADS = ("masked_head", "pooler", "next_sentence")
CLASSES = {
    "BertForPreTraining": (True, True, True),
    "BertForMaskedLM": (True, False, False),
    "BertForNextSentencePrediction": (False, True, True),
    "BertModel": (False, True, False),
    "BertForSequenceClassification": (False, True, False),
    "BertForTokenClassification": (False, False, False),
    "": (False, False, False),  # another class, or none: the arrays say what is there
}


class BERT:
    """Devlin et al. 2018, in ``BertConfig`` and the models of transformers that begin with Bert.

    Fields may have ``num_classes`` and ``of_tokens`` beside those of a BERT: then the model is a
    classifier, of texts or of their tokens, whose ``body`` the BERT is.

    Notes
    -----
    BERT in transformers has three dropout probabilities; npgpt's single one is
    ``hidden_dropout_prob``.
    """

    name, model_type, kind = "BERT", "bert", "bert"
    of_arrays = frozenset(HEADS)
    # the numbers 0, 1, 2, ... of positions, a tied decoder, heads that this model does without
    passed_over = re.compile(
        r"(.*\.)?(embeddings\.(position_ids|token_type_ids)|cls\.predictions\.decoder\.weight"
        r"|cls\.predictions\.(decoder\.)?bias|cls\.seq_relationship\.(weight|bias)"
        r"|classifier\.(weight|bias)|pooler\.dense\.(weight|bias)"
        r"|cls\.predictions\.transform\.(dense|LayerNorm)\.(weight|bias|gamma|beta))"
    )

    def fields(self, content: Fields, where: str) -> dict[str, Any]:
        """Translate the content of a config to fields of a `npgpt.models.BertConfig`."""
        activation = activation_of(content, "hidden_act", "gelu", ACTIVATIONS, where, "BERT")
        check_fixed(content, FIXED, where)
        return {
            **{ours: positive_integer(content, (theirs,), where) for ours, theirs in FIELDS},
            "dropout": real(content, ("hidden_dropout_prob",), 0.1, where),
            "layer_norm_eps": real(content, ("layer_norm_eps",), 1e-12, where),
            "activation": activation,
            "n_segments": positive_integer(
                {"type_vocab_size": 2, **content}, ("type_vocab_size",), where
            ),
            "tie_embeddings": bool(content.get("tie_word_embeddings", True)),
            **dict(zip(HEADS, CLASSES[_class_of(content)], strict=True)),
        }

    def content(self, fields: Fields) -> dict[str, Any]:
        """Write the fields as ``BertConfig`` reads them."""
        activations = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
        classes = range(fields.get("num_classes", 0))
        labels = {
            "id2label": {str(i): f"LABEL_{i}" for i in classes},
            "label2id": {f"LABEL_{i}": i for i in classes},
        }
        return {
            "architectures": [_written_class(fields)],
            "model_type": self.model_type,
            **{theirs: fields[ours] for ours, theirs in FIELDS},
            "intermediate_size": _d_ff(fields),
            "hidden_act": activations.get(fields["activation"], "gelu"),
            "hidden_dropout_prob": fields["dropout"],
            "attention_probs_dropout_prob": fields["dropout"],
            "layer_norm_eps": fields["layer_norm_eps"],
            "type_vocab_size": fields["n_segments"],
            "tie_word_embeddings": fields["tie_embeddings"],
            **(labels if classes else {}),
        }

    def with_arrays(self, fields: Fields, source: WeightSource, where: str, dtype: Any) -> Fields:
        """Say which heads a file holds, whatever its config says, and whether the decoder is tied.

        Warns
        -----
        UserWarning
            If a head is missing that the config names, or the decoder differs from the embedding.
        """
        found = by_plain_name(plain_name, source.shapes, where)
        asked = (MASKED_HEAD[0], POOLER, NEXT_SENTENCE)
        there = {
            head: f"{line.theirs[0]}.weight" in found
            for head, line in zip(HEADS, asked, strict=True)
        }
        there["next_sentence"] &= there["pooler"]
        missing = [head for head in HEADS if fields[head] and not there[head]]
        if missing:
            names = {"masked_head": "head for masked words", "pooler": "pooler",
                     "next_sentence": "head for the next sentence"}  # fmt: skip
            warnings.warn(
                f"{where} has no {' and no '.join(names[head] for head in missing)}, though its "
                "config says that it has; the model is made without.",
                stacklevel=4,
            )
        fields = {**fields, **there}
        if not there["masked_head"]:
            return fields
        return with_head_of_file(self, fields, source, where, dtype, head="head.decoder.weight")

    def weights(self, fields: Fields) -> Iterator[Weight]:
        """List the arrays of transformers' model."""
        for weight in _weights({**fields, "bias": True}):
            yield weight._replace(theirs=tuple(_with_prefix(name) for name in weight.theirs))
            if weight.theirs == (DECODER_BIAS,) and not fields["tie_embeddings"]:
                yield weight._replace(theirs=(OTHER_DECODER_BIAS,))

    def weights_in(self, fields: Fields, shapes: Shapes, where: str) -> Iterator[Weight]:
        """List the arrays as a file names them: with and without ``bert.``, old and new norms."""
        found = by_plain_name(plain_name, shapes, where)
        both = DECODER_BIAS in found and OTHER_DECODER_BIAS in found
        if OTHER_DECODER_BIAS in found and not (both and fields["tie_embeddings"]):
            found[DECODER_BIAS] = found[OTHER_DECODER_BIAS]  # which an untied decoder adds
        numbers = (re.match(r"encoder\.layer\.(\d+)\.", name) for name in found)
        check_num_blocks(
            fields, numbers, shapes, where, "a BERT's block (encoder.layer.0.output.dense.weight)"
        )
        for weight in _weights(fields):
            yield weight._replace(theirs=tuple(found.get(name, name) for name in weight.theirs))


def plain_name(name: str) -> str:
    """Take off what whoever saved a file has put before a name, and write norms as they are now.

    Examples
    --------
    >>> plain_name("bert.encoder.layer.0.output.LayerNorm.gamma")
    'encoder.layer.0.output.LayerNorm.weight'
    """
    return OLD_NORM.sub(lambda old: NEW[old[1]], PREFIX.sub("", name, count=1))


def num_classes(content: Fields, where: str) -> int:
    """Return how many classes the config of a classifier has.

    Raises
    ------
    ValueError
        If the classes are not such that a text has one of them.
    """
    problem = content.get("problem_type")
    if problem not in (None, "single_label_classification"):
        raise ValueError(
            f"{where}: problem_type must be single_label_classification, got {problem!r}."
        )
    labels = content.get("id2label")
    if isinstance(labels, dict) and labels:
        return len(labels)
    return positive_integer({"num_labels": 2, **content}, ("num_labels",), where)


def _class_of(content: Fields) -> str:
    named = content.get("architectures")
    known = [name for name in named if name in CLASSES] if isinstance(named, list) else []
    return known[0] if known else ""


def _written_class(fields: Fields) -> str:
    if "num_classes" in fields:
        kind = "Token" if fields["of_tokens"] else "Sequence"
        return f"BertFor{kind}Classification"
    heads = tuple(fields[head] for head in HEADS)
    exact = [name for name, of_class in CLASSES.items() if of_class == heads and any(heads)]
    # a class that lacks one of the model's heads passes it over
    return exact[0] if exact else "BertForMaskedLM" if heads[0] else "BertModel"


def _d_ff(fields: Fields) -> int:
    return fields.get("d_ff") or 4 * fields["d_model"]


def _with_prefix(plain: str) -> str:
    return plain if plain.startswith(("cls.", "classifier.")) else f"bert.{plain}"


def _weights(fields: Fields) -> Iterator[Weight]:
    """List the arrays of a model of these fields by their plain names."""
    classifies = "num_classes" in fields
    body, sizes = "body." if classifies else "", {**fields, "d_ff": _d_ff(fields), "2": 2}
    heads = [
        *(MASKED_HEAD if fields["masked_head"] else ()),
        *([POOLER] if fields["pooler"] else []),
        *([NEXT_SENTENCE] if fields["next_sentence"] else []),
    ]

    def of_line(line: Line, prefix: str, bias: bool) -> Iterator[Weight]:
        shape = tuple(sizes[word] for word in line.shape)
        norm = len(shape) == 1
        arrays = [("gamma" if norm else "weight", "weight", shape)]
        if bias:
            arrays.append(("beta" if norm else "bias", "bias", shape[:1]))
        for i in range(fields["n_layers"] if "{}" in line.ours else 1):
            for ours, theirs, of_array in arrays:
                names = tuple(f"{name}.{theirs}".format(i) for name in line.theirs)
                yield Weight(
                    f"{prefix}{line.ours}.{ours}".format(i), names, (of_array,) * len(names)
                )

    for line in TABLES:
        yield from of_line(line, body, bias=False)
    for line in (*ENCODER, *heads):
        yield from of_line(line, body, fields["bias"] or line is NEXT_SENTENCE)
    if fields["masked_head"]:
        vocab: Shape = (fields["vocab_size"],)
        yield Weight(f"{body}head.decoder.bias", (DECODER_BIAS,), (vocab,))
        if not fields["tie_embeddings"]:
            yield Weight(f"{body}head.decoder.weight", (DECODER,), ((*vocab, fields["d_model"]),))
    if classifies:
        yield from of_line(CLASSIFIER, "", bias=True)
