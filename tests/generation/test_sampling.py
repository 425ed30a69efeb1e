"""One frozen `Sampling` for all that draws; ids without a token; the ends of texts."""

import dataclasses
import inspect
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import npgpt
from npgpt import GPT, GPTConfig
from npgpt.cli import app
from npgpt.data.questions import Question
from npgpt.evaluation import evaluate_few_shot
from npgpt.fields import help_of, names_of
from npgpt.finetuning.instructions import respond
from npgpt.generation import (
    EveryTime,
    Sampling,
    beam_search,
    generate_tokens,
    ids_without_token,
    sampling_with,
    stream_text,
)
from npgpt.runs import open_model
from npgpt.tokenizers import (
    BPETokenizer,
    CharTokenizer,
    WordBPETokenizer,
    WordPieceTokenizer,
    WordTokenizer,
)

TEXT = "The cat sat on the mat. The dog sat on the log, and the cat saw the dog.\n"
WORDS = TEXT.replace("\n", " ").split()
BPE = BPETokenizer.train(TEXT * 20, vocab_size=270)
TOKENIZERS = {
    "word": WordTokenizer.train(TEXT),
    "word, white space kept": WordTokenizer.train(TEXT, keep_whitespace=True),
    "word bpe": WordBPETokenizer.train(TEXT, num_merges=5),
    "bpe": BPE,
    "word piece": WordPieceTokenizer.train(TEXT, 50),
    "char": CharTokenizer.train(TEXT + "é", unknown="<|unk|>"),
}


# --- one dataclass ----------------------------------------------------------------------------------


def test_the_choices_of_sampling_stand_once():
    for function in (GPT.generate, GPT.stream, GPT.beam_search, generate_tokens, beam_search):
        names = inspect.signature(function).parameters
        assert "sampling" in names
        assert not names.keys() & set(names_of(Sampling))
    shown = {
        name
        for name in names_of(Sampling)
        if name not in ("stop_id", "suppressed", "begin_suppressed")
    }
    for command in ("generate", "chat"):
        text = " ".join(
            CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"}).output.split()
        )
        for name in shown:
            assert f"--{name.replace('_', '-')} " in text
            assert help_of(Sampling)[name].split(":")[0] in text
    assert help_of(Sampling).keys() == set(names_of(Sampling))


def test_a_sampling_is_frozen_and_a_keyword_takes_the_place_of_its_field():
    sampling = Sampling(top_k=3, seed=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampling.seed = 2
    model = sharp()
    given_, named = model.generate([1], 9, sampling), model.generate([1], 9, top_k=3, seed=1)
    np.testing.assert_array_equal(given_, named)
    np.testing.assert_array_equal(
        model.generate([1], 9, sampling, temperature=0.0), model.generate([1], 9, temperature=0.0)
    )
    with pytest.raises(TypeError, match="there is no choice 'top_q'; there are temperature, top_k"):
        model.generate([1], 9, top_q=1)


@pytest.mark.parametrize("name", ["temperature", "top_p", "repetition_penalty"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0])
def test_a_number_that_is_none_is_refused(name, value):
    with pytest.raises(ValueError, match=name):
        Sampling(**{name: value})


@given(
    st.floats(0, 1e38), st.none() | st.integers(1, 10**18), st.none() | st.floats(0, 1, exclude_min=True),
    st.floats(0, 1e38, exclude_min=True), st.integers(0, 9),
)  # fmt: skip
def test_any_choice_within_its_range_draws_a_token(temperature, top_k, top_p, penalty, seed):
    logits = np.array([[3.0, -2.0, 0.5, -np.inf]], np.float32)
    choices = dict(temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=penalty)
    drawn = np.ravel(
        [*generate_tokens(lambda ids: logits[[0] * len(ids)], [0, 3], 4, **choices, seed=seed)]
    )
    assert set(drawn.tolist()) <= {0, 1, 2}


# --- ids that stand for no token --------------------------------------------------------------------


def sharp(vocab_size=300, context_length=64, seed=1):
    model = GPT(GPTConfig(vocab_size, context_length, n_layers=1, n_heads=2, d_model=16), seed=seed)
    model.token_embedding.weight.value *= 20
    return model.eval()


def preferring(ids, vocab_size=300, **options):
    """A model that would draw these ids nearly always."""
    model = sharp(vocab_size, **options)
    model.final_norm.beta.value[...] = 1.0
    model.token_embedding.weight.value[[*ids]] = 3.0
    return model


@given(
    st.sets(st.integers(0, 10), min_size=1, max_size=10),
    st.floats(0, 5),
    st.none() | st.integers(1, 12),
    st.none() | st.floats(0.1, 1),
    st.integers(0, 99),
)
def test_what_is_suppressed_is_never_drawn(banned, temperature, top_k, top_p, seed):
    logits = np.random.default_rng(seed).normal(size=(2, 11)).astype(np.float32)
    logits[:, [*banned]] += 9
    before = logits.copy()
    choices = dict(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, suppressed=banned)
    tokens = np.ravel([*generate_tokens(lambda ids: logits, [[0], [1]], 5, **choices)])
    assert not banned & set(tokens.tolist())
    found = beam_search(
        EveryTime(lambda ids: logits[[0] * len(ids)]), np.array([0]), 3, 2, suppressed=banned
    )
    assert not banned & set(found[1:].tolist())
    np.testing.assert_array_equal(logits, before)
    # top-k counts tokens that can be drawn
    kept = [
        *generate_tokens(
            lambda ids: logits, [[0], [1]], 40, temperature=50.0, top_k=1, suppressed=banned
        )
    ]
    rest = np.where(np.isin(np.arange(11), [*banned]), -np.inf, logits)
    assert np.unique(np.array(kept)[:, 0]).tolist() == [rest[0].argmax()]


def test_nothing_is_copied_where_nothing_is_suppressed():
    logits = np.zeros((1, 4))
    assert Sampling().allowed(logits, True) is logits
    assert Sampling(begin_suppressed=[1]).allowed(logits, False) is logits
    assert Sampling(begin_suppressed=[1]).allowed(logits, True).tolist() == [[0, -np.inf, 0, 0]]


@pytest.fixture(scope="module")
def padded(tmp_path_factory):
    """A model of 300 rows for 270 tokens, that would nearly always draw one of the 30."""
    folder = tmp_path_factory.mktemp("padded")
    preferring(range(BPE.vocab_size, 300)).save_pretrained(folder, BPE, overwrite=True)
    return folder


def test_a_row_without_a_token_is_never_drawn_at_any_door(padded):
    opened = open_model(padded)
    assert ids_without_token(BPE, 300) == [*range(BPE.vocab_size, 300)]
    plain = GPT.from_pretrained(padded)
    assert plain.generate(BPE.encode("The cat"), 5, seed=1).max() >= BPE.vocab_size  # it would
    for choices in (
        {"temperature": 0.0},
        {"seed": 1},
        {"top_k": 3, "seed": 1},
        {"top_p": 0.1, "seed": 2},
    ):
        ids = opened.model.generate([BPE.encode("The cat"), BPE.encode("The")], 9, **choices)
        assert max(map(np.max, ids)) < BPE.vocab_size
    assert opened.model.beam_search(BPE.encode("The"), 5, 3).max() < BPE.vocab_size
    assert isinstance(respond(plain, BPE, "The cat"), str)
    questions = [Question(f"row {i}", "the", "cat") for i in range(2)]
    evaluate_few_shot(plain, BPE, questions, 0)
    run = lambda *words, **more: CliRunner().invoke(app, [*words], **more)  # noqa: E731
    for words in (["--seed=1"], ["--temperature=0"], ["--num-beams=2"], ["--top-k=2", "--seed=3"]):
        result = run("generate", str(padded), "low", *words, "--max-new-tokens=20")
        assert result.exit_code == 0, result.output
    assert run("chat", str(padded), "--max-new-tokens=9", input="the\n").exit_code == 0


@given(st.sets(st.integers(0, 255), max_size=20), st.integers(0, 40))
def test_holes_within_a_vocabulary_are_not_drawn_either(holes, padding):
    class Holed:
        vocab_size, end_of_text_id, unused_ids = 256, None, sorted(holes)

    model = preferring(holes or {0}, 256 + padding)
    sampling = sampling_with(Holed, model, temperature=0.0)
    drawn = model.generate([[1], [2]], 3, sampling)[:, 1:]
    assert not np.isin(drawn, [*holes, *range(256, 256 + padding)]).any()


# --- the ends of texts ------------------------------------------------------------------------------


def write_ends(folder, config, generation):
    for name, value in (("config.json", config), ("generation_config.json", generation)):
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        content["eos_token_id"] = value
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("config", "generation"), [(65, None), (None, [65]), (3, [65, 7]), ([65, 7], None)]
)
def test_generation_ends_where_the_folder_says(tmp_path, config, generation):
    preferring([65]).save_pretrained(tmp_path, BPE, overwrite=True)
    write_ends(tmp_path, config, generation)
    opened = open_model(tmp_path)
    prompt = BPE.encode("The")
    for model in (GPT.from_pretrained(tmp_path), opened.model):
        np.testing.assert_array_equal(model.generate(prompt, 9, temperature=0.0), [*prompt, 65])
        rows = model.generate([[1, 2], [3, 4]], 9, temperature=0.0)
        assert rows.shape == (2, 3)
        np.testing.assert_array_equal(model.beam_search(prompt, 9, 2), [*prompt, 65])
        assert len(model.generate(prompt, 4, temperature=0.0, stop_id=None)) == len(prompt) + 4
    run = lambda *words, **more: CliRunner().invoke(app, [*words], **more)  # noqa: E731
    asked = ["generate", str(tmp_path), "The", "--temperature=0", "--max-new-tokens=4"]
    assert run(*asked).stdout == "The\n"
    assert run(*asked, "--num-beams=2").stdout == "The\n"
    assert run(*asked, "--ignore-eos").stdout == f"The{BPE.decode([65] * 4)}\n"
    assert run("chat", str(tmp_path), "--temperature=0", input="The\n").stdout == "\n"
    opened.model.save_pretrained(tmp_path / "again", BPE)
    assert (
        npgpt.hub.read_generation_ids(tmp_path / "again").eos_token_ids
        == opened.model.sampling.stop_ids
    )


def test_rows_that_end_at_different_tokens_are_filled_with_their_own():
    def counting(ids):
        logits = np.full((len(ids), 10), -50.0)
        logits[range(len(ids)), (ids[:, -1] + 1) % 10] = 50.0
        return logits

    new = np.stack([*generate_tokens(counting, [[3], [6], [0]], 9, stop_id=[5, 8])], axis=1)
    assert new.tolist() == [[4, 5, 5, 5, 5], [7, 8, 8, 8, 8], [1, 2, 3, 4, 5]]


# --- prompt and answer are decoded together ---------------------------------------------------------


def told(tokenizer, prompt, new):
    ids = tokenizer.encode(prompt)
    return "".join(stream_text(new, tokenizer.decode, prompt_ids=ids, prompt=prompt))


@given(
    st.sampled_from([*TOKENIZERS]),
    st.lists(st.sampled_from([*WORDS, "zebra", '"', "(", "it's"]), min_size=1, max_size=5).map(
        " ".join
    ),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join),
)
def test_what_is_new_is_what_the_whole_has_more_than_the_prompt(kind, prompt, answer):
    tokenizer = TOKENIZERS[kind]
    ids, new = tokenizer.encode(prompt), tokenizer.encode(answer)
    whole = tokenizer.decode([*ids, *new])
    assert tokenizer.decode(ids) + told(tokenizer, prompt, new) == whole


def test_words_stay_apart_at_every_door(tmp_path, monkeypatch):
    tokenizer = TOKENIZERS["word"]
    log = int(tokenizer.encode("log")[0])
    assert told(tokenizer, "The cat", [log]) == " log"
    assert told(tokenizer, "The cat ", [log]) == "log"
    assert told(tokenizer, "The cat\n", [log]) == "log"
    model = preferring([log], tokenizer.vocab_size)
    model.save_pretrained(tmp_path, overwrite=True)
    tokenizer.save(tmp_path / "tokenizer.json")
    said = CliRunner().invoke(
        app, ["generate", str(tmp_path), "The cat", "--temperature=0", "--max-new-tokens=2"]
    )
    assert said.stdout == "The cat log log\n"
    empty = CliRunner().invoke(
        app, ["generate", str(tmp_path), "--temperature=0", "--max-new-tokens=2"]
    )
    assert empty.stdout == "log log\n"
    chat = CliRunner().invoke(
        app, ["chat", str(tmp_path), "--temperature=0", "--max-new-tokens=2"], input="cat\n"
    )
    assert chat.stdout == "log log\n"
    assert respond(model, tokenizer, "The cat", 2) == "log log"


def test_a_stop_string_is_found_in_what_is_new_only():
    assert "".join(stream_text(b"b the end", bytes_text, ["the"], prompt_ids=b"the a")) == "b "
    with pytest.raises(ValueError, match="at least one character"):
        list(stream_text(b"b", bytes_text, [""]))


def bytes_text(ids):
    return bytes(ids).decode("utf-8", errors="replace")


# --- bits per byte ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["word", "word bpe", "word piece", "bpe", "char"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_bits_per_byte_divide_by_the_bytes_of_the_file(tmp_path, kind, end):
    tokenizer = TOKENIZERS[kind]
    GPT(GPTConfig(tokenizer.vocab_size, 16, n_layers=1, n_heads=2, d_model=16)).save_pretrained(
        tmp_path / "m"
    )
    tokenizer.save(tmp_path / "m" / "tokenizer.json")
    text = (f"The  cat saw a  zébra, and the mat.{end}" * 9).encode()
    (tmp_path / "text.txt").write_bytes(text)
    result = CliRunner().invoke(
        app, ["eval", str(tmp_path / "m"), str(tmp_path / "text.txt"), "--json"]
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["tokens"] == len(tokenizer.encode(text.decode())) - 1
    # what loses nothing knows the bytes of the tokens that were predicted: all but the first
    first = BPE.bytes_per_token()[BPE.encode(text.decode())[0]] if kind == "bpe" else 0
    bits = found["loss"] * found["tokens"] / np.log(2) / (len(text) - first)
    assert found["bits_per_byte"] == pytest.approx(bits, rel=1e-12)
