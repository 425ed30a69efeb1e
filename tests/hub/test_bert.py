"""BERT's folders: out and in again, as older files spell them, and what is missing or unknown."""

import dataclasses
import itertools
import json
import re
import warnings

import numpy as np
import pytest
from safetensors.numpy import load_file

import npgpt
from npgpt.gradients.suite import shake
from npgpt.models import (
    Bert,
    BertConfig,
    BertForClassification,
    BertForTokenClassification,
)
from tests.hub.folders import rewrite_arrays, rewrite_json

CONFIG = BertConfig(13, 8, n_layers=2, n_heads=2, d_model=8, d_ff=12)
IDS = np.random.default_rng(0).integers(0, 13, (2, 6))


def saved(folder, dtype=np.float32, **changes):
    model = Bert(dataclasses.replace(CONFIG, **changes), seed=1, dtype=dtype)
    shake(model, np.random.default_rng(2))
    model.save_pretrained(folder)
    return model.eval()


def rename(folder, change):
    rewrite_arrays(folder, lambda arrays: {change(name): a for name, a in arrays.items()})


def equal(model, other):
    assert model.config == other.config
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], array, err_msg=name)


HEADS = [h for h in itertools.product([True, False], repeat=3) if h[1] or not h[2]]


@pytest.mark.parametrize(("masked_head", "pooler", "next_sentence"), HEADS)
def test_any_heads_come_back_with_every_bit(tmp_path, masked_head, pooler, next_sentence):
    for tied in (True, False):
        folder = tmp_path / str(tied)
        model = saved(
            folder, tie_embeddings=tied, masked_head=masked_head, pooler=pooler,
            next_sentence=next_sentence,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if not any((masked_head, pooler)) else "error")
            equal(model, Bert.from_pretrained(folder))


@pytest.mark.parametrize("made", [BertForClassification, BertForTokenClassification])
def test_classifiers_come_back_with_every_bit(tmp_path, made):
    model = made(saved(tmp_path / "body", pooler=True, dtype=np.float64), 5, seed=3)
    model.save_pretrained(tmp_path / "m")
    again = made.from_pretrained(tmp_path / "m", np.float64)
    equal(model, again)
    assert again.num_classes == 5
    assert not again.training
    content = json.loads((tmp_path / "m" / "config.json").read_text())
    assert content["architectures"] == [made.__name__.replace("ForC", "ForSequenceC")]
    assert content["id2label"]["4"] == "LABEL_4"


@pytest.mark.parametrize(
    "change",
    [
        lambda name: name.removeprefix("bert."),
        lambda name: f"module.{name}",
        lambda name: f"0.auto_model.{name.removeprefix('bert.')}",
        lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ),
        lambda name: name.replace("cls.predictions.bias", "cls.predictions.decoder.bias"),
    ],
    ids=["no prefix", "DataParallel", "sentence-transformers", "gamma and beta", "decoder.bias"],
)
def test_names_of_other_savers_are_read(tmp_path, change):
    model = saved(tmp_path / "m", pooler=True, next_sentence=True)
    rename(tmp_path / "m", change)
    equal(model, Bert.from_pretrained(tmp_path / "m"))


def test_what_a_model_does_without_is_passed_over_and_the_unknown_is_not(tmp_path):
    model = saved(tmp_path / "m")
    table = load_file(tmp_path / "m" / "model.safetensors")[
        "bert.embeddings.word_embeddings.weight"
    ]
    more = {
        "bert.embeddings.position_ids": np.arange(8)[None],
        "cls.predictions.decoder.weight": table,
    }
    rewrite_arrays(tmp_path / "m", lambda arrays: {**arrays, **more})
    equal(model, Bert.from_pretrained(tmp_path / "m"))
    rewrite_arrays(tmp_path / "m", lambda arrays: {**arrays, "qa_outputs.weight": table})
    with pytest.raises(ValueError, match=r"1 arrays that the model .* does not have: qa_outputs"):
        Bert.from_pretrained(tmp_path / "m")


def test_a_decoder_of_its_own_is_used_and_said(tmp_path):
    saved(tmp_path / "m")
    own = {"cls.predictions.decoder.weight": np.ones((13, 8), np.float32)}
    rewrite_arrays(tmp_path / "m", lambda arrays: {**arrays, **own})
    with pytest.warns(UserWarning, match=r"cls\.predictions\.decoder\.weight differs"):
        model = Bert.from_pretrained(tmp_path / "m")
    np.testing.assert_array_equal(model.head.decoder.weight.value, 1.0)


@pytest.mark.parametrize(
    ("part", "message", "call"),
    [
        ("cls.predictions", "no head for masked words", lambda m: m.forward(IDS)),
        (
            "bert.pooler",
            "no pooler and no head for the next",
            lambda m: m.next_sentence_logits(IDS),
        ),
    ],
)
def test_a_head_that_the_config_names_and_the_file_lacks_is_said(tmp_path, part, message, call):
    saved(tmp_path / "m", pooler=True, next_sentence=True)
    rewrite_arrays(
        tmp_path / "m", lambda arrays: {n: a for n, a in arrays.items() if part not in n}
    )
    with pytest.warns(UserWarning, match=f"has {message}.*made without"):
        model = Bert.from_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match="load it from a file that has one"):
        call(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position_embedding_type": "relative_key"}, "position_embedding_type must be absolute"),
        ({"hidden_act": "silu"}, "hidden_act 'silu' is not known; npgpt's BERT has gelu"),
        ({"hidden_act": ["gelu"]}, "hidden_act .* is not known"),
        ({"is_decoder": True}, "is_decoder must be False"),
        ({"add_cross_attention": True}, "add_cross_attention must be False"),
        ({"hidden_size": "8"}, "hidden_size must be a positive integer"),
        ({"type_vocab_size": 0}, "type_vocab_size must be a positive integer"),
        ({"num_hidden_layers": 3}, "has weights of 2 blocks, but its config asks for 3"),
        ({"num_attention_heads": 3}, "n_heads must divide d_model"),
        ({"intermediate_size": 13}, "intermediate.dense.weight has shape"),
    ],
)
def test_what_is_not_had_or_does_not_fit_is_refused_by_name(tmp_path, change, message):
    saved(tmp_path / "m")
    rewrite_json(tmp_path / "m" / "config.json", lambda content: {**content, **change})
    with pytest.raises(ValueError, match=message):
        Bert.from_pretrained(tmp_path / "m")


def test_a_model_that_their_bert_is_not_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=re.escape("Hugging Face's BERT has no norm_position='pre'")
    ):
        saved(tmp_path / "m", norm_position="pre")
    with pytest.raises(ValueError, match=r"BERT has no position='rope'"):
        saved(tmp_path / "m", position="rope")
    assert not (tmp_path / "m").exists()


def test_folders_of_other_kinds_are_told_apart(tmp_path):
    saved(tmp_path / "m")
    with pytest.raises(ValueError, match=r"m holds a BERT, not a GPT"):
        npgpt.GPT.from_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match=r"has no classifier\.weight: it is a BERT without"):
        BertForClassification.from_pretrained(tmp_path / "m")
    config = npgpt.GPTConfig(11, 8, n_layers=1, n_heads=2, d_model=8)
    npgpt.GPT(config).save_pretrained(tmp_path / "gpt")
    for made in (Bert, BertForClassification):
        with pytest.raises(ValueError, match=r"gpt holds a GPT-2, not a"):
            made.from_pretrained(tmp_path / "gpt")
    rewrite_json(
        tmp_path / "m" / "config.json",
        lambda content: {**content, "problem_type": "multi_label_classification"},
    )
    rewrite_arrays(
        tmp_path / "m",
        lambda arrays: {**arrays, "classifier.weight": np.ones((2, 8), np.float32)},
    )
    with pytest.raises(ValueError, match="problem_type must be single_label_classification"):
        BertForClassification.from_pretrained(tmp_path / "m")


def test_additions_are_merged_and_fewer_bits_are_for_use(tmp_path):
    model = saved(tmp_path / "m")
    npgpt.finetuning.apply_lora(model)
    shake(model, np.random.default_rng(3))
    model.save_pretrained(tmp_path / "merged")
    again = Bert.from_pretrained(tmp_path / "merged")
    np.testing.assert_allclose(again.forward(IDS), model.forward(IDS), atol=1e-4)
    small = Bert.from_pretrained(tmp_path / "merged", "bfloat16")
    np.testing.assert_allclose(small.forward(IDS), again.forward(IDS), atol=0.2)
    targets = np.where(IDS % 2, IDS, -100)
    np.testing.assert_allclose(
        small.evaluation_loss(IDS, targets), small.loss(IDS, targets), rtol=1e-5
    )
    with pytest.raises(ValueError, match="for inference only"):
        small.save_pretrained(tmp_path / "small")
