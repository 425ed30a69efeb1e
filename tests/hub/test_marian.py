"""MarianMT's folders: out and in again, what they say of translations, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import npgpt
from npgpt.generation import Translating
from npgpt.models import Transformer
from tests.golden.marian import BATCH, CONFIG, END, PAD, SOURCES, TRANSLATING, marian
from tests.hub.folders import rewrite_arrays, rewrite_json

APART = {"share_embeddings": False, "source_vocab_size": 12}


def saved(folder, **changes):
    model = Transformer(dataclasses.replace(CONFIG, **changes), seed=1).eval()
    model.translating = TRANSLATING
    model.save_pretrained(folder)
    return model


def equal(model, other):
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], array, err_msg=name)
    np.testing.assert_array_equal(other.forward(*BATCH[:-1]), model.forward(*BATCH[:-1]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_embeddings": False, **APART},
        {"scale_embeddings": False, "activation": "relu", "label_smoothing": 0.1, "dropout": 0.2, **APART},
        {"n_encoder_layers": None, "d_ff": None, "source_vocab_size": 11, "ends_with_norm": False},
    ],
)  # fmt: skip
def test_a_model_comes_back_with_every_bit_and_all_that_it_says(tmp_path, changes):
    model = saved(tmp_path / "m", **changes)
    again = Transformer.from_pretrained(tmp_path / "m")
    equal(model, again)
    assert again.translating == TRANSLATING
    assert again.config.dropout == model.config.dropout
    assert again.config.label_smoothing == model.config.label_smoothing
    assert not again.training


def test_its_own_settings_translate_unless_a_call_says_otherwise():
    model = marian()
    own = model.translate(SOURCES)
    given = dataclasses.asdict(dataclasses.replace(TRANSLATING))
    given.pop("renormalize")
    model.translating = Translating()
    with pytest.raises(ValueError, match="start_id and end_id must be given"):
        model.translate(SOURCES)
    for (one,), (other,) in zip(own, model.translate(SOURCES, **given), strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist()
        assert len(one.token_ids) == 9 or one.token_ids[-1] == END
    forced = model.translate(SOURCES, start_id=PAD, end_id=END, forced_end_id=END, max_new_tokens=1)
    assert [(best.token_ids.tolist(), best.log_p) for (best,) in forced] == [([END], 0.0)] * 3


def test_older_and_other_spellings_of_a_file_are_read(tmp_path):
    model = saved(tmp_path / "m")
    table = load_file(tmp_path / "m" / "model.safetensors")["model.shared.weight"]
    uses = {"lm_head.weight": table, "model.encoder.embed_tokens.weight": table,
            "model.encoder.embed_positions.weight": np.zeros((16, 8), np.float32)}  # fmt: skip
    rewrite_arrays(tmp_path / "m", lambda arrays: {**arrays, **uses})
    equal(model, Transformer.from_pretrained(tmp_path / "m"))
    rewrite_arrays(
        tmp_path / "m",
        lambda arrays: {f"module.{n}": a for n, a in arrays.items() if "shared" not in n},
    )
    equal(model, Transformer.from_pretrained(tmp_path / "m"))
    rewrite_arrays(
        tmp_path / "m", lambda arrays: {n: a for n, a in arrays.items() if "final" not in n}
    )
    with pytest.raises(ValueError, match=r"final_layer_norm\.\w+, which the model's config asks"):
        Transformer.from_pretrained(tmp_path / "m")


def test_a_file_without_numbers_of_tokens_gives_a_head_without(tmp_path):
    model = saved(tmp_path / "m")
    rewrite_arrays(
        tmp_path / "m", lambda arrays: {n: a for n, a in arrays.items() if n != "final_logits_bias"}
    )
    again = Transformer.from_pretrained(tmp_path / "m")
    assert again.head.bias is None
    np.testing.assert_allclose(again.forward(*BATCH[:-1]), model.forward(*BATCH[:-1]), atol=1e-6)
    again.save_pretrained(tmp_path / "again")
    biases = load_file(tmp_path / "again" / "model.safetensors")["final_logits_bias"]
    assert biases.shape == (1, 11)
    assert not biases.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"activation_function": "tanh"},
            "activation_function 'tanh' is not known; npgpt's Marian",
        ),
        (
            {"encoder_attention_heads": 4},
            "encoder_attention_heads and decoder_attention_heads must",
        ),
        ({"decoder_ffn_dim": 13}, "encoder_ffn_dim and decoder_ffn_dim must be equal"),
        ({"encoder_layerdrop": 0.1}, r"encoder_layerdrop must be 0\.0, got 0\.1"),
        ({"normalize_before": True}, "normalize_before must be False"),
        ({"decoder_vocab_size": 12}, "decoder_vocab_size must be the vocab_size where embeddings"),
        ({"decoder_layers": 3}, "has weights of 2 blocks, but its config asks for 3"),
        ({"encoder_layers": "1"}, "encoder_layers must be a positive integer"),
    ],
)
def test_what_is_not_had_or_does_not_fit_is_refused_by_name(tmp_path, change, message):
    saved(tmp_path / "m")
    rewrite_json(tmp_path / "m" / "config.json", lambda content: {**content, **change})
    with pytest.raises(ValueError, match=message):
        Transformer.from_pretrained(tmp_path / "m")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"early_stopping": True}, "early_stopping is True, which npgpt's beam search does not"),
        ({"no_repeat_ngram_size": 3}, "no_repeat_ngram_size is 3"),
        ({"do_sample": True}, "do_sample is True"),
        ({"decoder_start_token_id": 4}, "decoder_start_token_id must be the pad_token_id, got 4"),
        ({"bad_words_ids": [[1, 2]]}, r"bad_words_ids must hold lists of one token id, got \[1, 2\]"),
        ({"bad_words_ids": 3}, "bad_words_ids must hold lists of one token id, got 3"),
        ({"forced_eos_token_id": [0]}, r"forced_eos_token_id must be a token id, got \[0\]"),
        ({"max_length": 1}, "max_length must be a whole number from 2 on, got 1"),
        ({"length_penalty": "1"}, "length_penalty must be a number"),
    ],
)  # fmt: skip
def test_other_ways_to_translate_are_refused_by_name(tmp_path, change, message):
    saved(tmp_path / "m")
    path = tmp_path / "m" / "generation_config.json"
    rewrite_json(path, lambda content: {**content, **change})
    with pytest.raises(ValueError, match=message):
        Transformer.from_pretrained(tmp_path / "m")


def test_a_config_says_what_a_missing_generation_config_does_not(tmp_path):
    saved(tmp_path / "m")
    (tmp_path / "m" / "generation_config.json").unlink()
    found = Transformer.from_pretrained(tmp_path / "m").translating
    assert found == Translating(PAD, END, END, renormalize=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sinusoids": "pairs"}, "MarianMT has no sinusoids='pairs'"),
        ({"norm_position": "pre"}, "MarianMT has no .*norm_position='pre'"),
        ({"activation": "swiglu"}, "MarianMT has no .*activation='swiglu'"),
        ({"tie_embeddings": False}, "MarianMT has no share_embeddings=True"),
        ({"position": "rope"}, "MarianMT has no position='rope'"),
    ],
)
def test_a_transformer_that_marian_is_not_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        saved(tmp_path / "m", **changes)
    assert not (tmp_path / "m").exists()


def test_a_model_that_knows_no_beginning_is_not_written(tmp_path):
    with pytest.raises(
        ValueError, match=r"set model\.translating = npgpt\.generation\.Translating"
    ):
        Transformer(CONFIG).save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_it_is_told_from_other_kinds_and_can_have_fewer_bits(tmp_path):
    model = saved(tmp_path / "m")
    with pytest.raises(ValueError, match="m holds a MarianMT, not a GPT"):
        npgpt.GPT.from_pretrained(tmp_path / "m")
    small = Transformer.from_pretrained(tmp_path / "m", "bfloat16")
    np.testing.assert_allclose(small.forward(*BATCH[:-1]), model.forward(*BATCH[:-1]), atol=0.2)
    assert small.translate(SOURCES)[0][0].token_ids.size
    content = json.loads((tmp_path / "m" / "config.json").read_text())
    assert content["decoder_start_token_id"] == content["pad_token_id"] == PAD
