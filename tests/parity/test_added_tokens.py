"""Added tokens, companions and templates against tokenizers and transformers; files of ours too."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

huggingface = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")

import npgpt  # noqa: E402
from npgpt import tokenizers  # noqa: E402
from npgpt.tokenizers import (  # noqa: E402
    BPETokenizer,
    CharTokenizer,
    WordBPETokenizer,
    WordTokenizer,
    load_folder,
)
from tests.tokenizers.strategies import TEXTS, WHITE_SPACE  # noqa: E402

QUICK = settings(max_examples=40, phases=[Phase.generate])
CONTENTS = [
    "<sep>",
    "<pad>",
    "<sep>>",
    "import",
    "a",
    "é",
    "\n",
    "two words",
    "def ",
    "日本",
    "<s>",
]


def trained(special=("<|endoftext|>",)):
    byte_level = huggingface.pre_tokenizers.ByteLevel
    tokenizer = huggingface.Tokenizer(huggingface.models.BPE())
    tokenizer.pre_tokenizer = byte_level(add_prefix_space=False)
    tokenizer.decoder = huggingface.decoders.ByteLevel()
    trainer = huggingface.trainers.BpeTrainer(
        vocab_size=400, special_tokens=[*special], initial_alphabet=byte_level.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator([Path(os.__file__).read_text()[:20_000]], trainer)
    return tokenizer


BASE = trained().to_str()
FLAGS = st.fixed_dictionaries(
    {"special": st.booleans()},
    optional={f: st.booleans() for f in ("single_word", "lstrip", "rstrip", "normalized")},
)
ADDED = st.dictionaries(st.sampled_from(CONTENTS), FLAGS, min_size=1, max_size=4)
SPACED = st.lists(
    st.sampled_from([*CONTENTS, "<|endoftext|>", " ", "  ", "\n", "x", "_", "1", "\x1c", "-", "́"])
    | WHITE_SPACE,
    max_size=12,
).map("".join)


def theirs_with(added):
    theirs = huggingface.Tokenizer.from_str(BASE)
    for content, flags in added.items():
        flags = dict(flags)
        add = theirs.add_special_tokens if flags.pop("special") else theirs.add_tokens
        add([huggingface.AddedToken(content, **flags)])
    return theirs


@QUICK
@given(ADDED, st.lists(SPACED | TEXTS, min_size=4, max_size=4))
def test_added_tokens_with_any_flags_have_the_librarys_ids(tmp_path_factory, added, texts):
    path = tmp_path_factory.mktemp("t") / "tokenizer.json"
    theirs = theirs_with(added)
    theirs.save(str(path))
    ours = tokenizers.load(path)
    assert ours.vocab_size == theirs.get_vocab_size()
    for text in texts:
        assert ours.encode(text, allowed_special="all").tolist() == theirs.encode(text).ids
    again = path.with_name("again.json")
    ours.save(again)
    assert tokenizers.load(again).fingerprint == ours.fingerprint
    back = huggingface.Tokenizer.from_file(str(again))
    assert [back.encode(text).ids for text in texts] == [theirs.encode(t).ids for t in texts]


@QUICK
@given(st.sets(st.integers(401, 420), min_size=1, max_size=3), SPACED | TEXTS)
def test_a_vocabulary_with_holes_has_the_librarys_ids(tmp_path_factory, ids, text):
    path = tmp_path_factory.mktemp("t") / "tokenizer.json"
    content = json.loads(BASE)
    for i, name in zip(sorted(ids), CONTENTS, strict=False):
        content["model"]["vocab"][name] = i
        content["added_tokens"].append({"id": i, **flags_of(name)})
    path.write_text(json.dumps(content))
    theirs = huggingface.Tokenizer.from_file(str(path))
    ours = tokenizers.load(path)
    found = ours.encode(text, allowed_special="all").tolist()
    assert found == theirs.encode(text).ids
    assert ours.vocab_size == max(ids) + 1
    assert set(ours.unused_ids) == set(range(max(ids))) - {*theirs.get_vocab().values()}
    assert ours.decode([*found, *ours.unused_ids]) == theirs.decode(
        [*found, *ours.unused_ids], skip_special_tokens=False
    )


@pytest.mark.parametrize("where", ["added_tokens.json", "tokenizer.json"])
def test_an_added_token_that_the_library_would_number_anew_is_refused_by_name(tmp_path, where):
    path = tmp_path / "tokenizer.json"
    content = json.loads(BASE)
    if where == "tokenizer.json":
        content["added_tokens"].append({"id": 450, **flags_of("<sep>")})
    else:
        (tmp_path / where).write_text('{"<sep>": 450}')
    path.write_text(json.dumps(content))
    if where == "tokenizer.json":
        assert huggingface.Tokenizer.from_file(str(path)).token_to_id("<sep>") == 400
    with pytest.raises(ValueError, match=r"not support: .*'<sep>' has the id 450, .* one, 400"):
        load_folder(tmp_path)


@QUICK
@given(TEXTS)
def test_what_a_trainer_saves_without_a_list_of_special_tokens_has_its_ids(trained_folder, text):
    theirs, ours = trained_folder
    assert ours.encode(text).tolist() == theirs.encode(text).ids
    assert ours.special_tokens == ("<s>", "<pad>", "</s>")


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    theirs = huggingface.ByteLevelBPETokenizer()
    theirs.train_from_iterator(
        [Path(os.__file__).read_text()[:20_000]], 400, show_progress=False,
        special_tokens=["<s>", "<pad>", "</s>"],
    )  # fmt: skip
    theirs.save_model(str(folder))
    files = (str(folder / "vocab.json"), str(folder / "merges.txt"))
    return huggingface.ByteLevelBPETokenizer(*files), load_folder(folder)


AROUND = st.lists(st.sampled_from(["<|endoftext|>", "<s>", "</s>"]), max_size=2)
PIECES = st.builds(lambda before, after: [*before, "$A", *after], AROUND, AROUND)


@QUICK
@given(PIECES, st.booleans(), TEXTS)
def test_a_prompt_is_encoded_as_its_template_says(tmp_path_factory, pieces, byte_level, text):
    path = tmp_path_factory.mktemp("t") / "tokenizer.json"
    theirs = trained_with_names()
    ids = [(name, theirs.token_to_id(name)) for name in ("<|endoftext|>", "<s>", "</s>")]
    parts = [
        huggingface.processors.TemplateProcessing(
            single=" ".join(pieces), pair="$A $B", special_tokens=ids
        )
    ]
    if byte_level:
        parts.insert(0, huggingface.processors.ByteLevel(trim_offsets=True))
    one = len(parts) == 1
    theirs.post_processor = parts[0] if one else huggingface.processors.Sequence(parts)
    theirs.save(str(path))
    ours = tokenizers.load(path)
    plain = [t for t in ("<|endoftext|>", "<s>", "</s>") if t in text]
    if not plain:
        assert ours.encode_prompt(text).tolist() == theirs.encode(text).ids
        assert ours.encode(text).tolist() == theirs.encode(text, add_special_tokens=False).ids
    ours.save(path)
    assert tokenizers.load(path).fingerprint == ours.fingerprint
    assert huggingface.Tokenizer.from_file(str(path)).encode(text).ids == theirs.encode(text).ids


def trained_with_names():
    theirs = huggingface.Tokenizer.from_str(BASE)
    theirs.add_special_tokens(["<s>", "</s>"])
    return theirs


def flags_of(content, **changes):
    flags = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word", "special"), False)
    return {"content": content, **flags, **changes}


COMPANIONS = {
    "added_tokens.json": {"added_tokens.json": {"<pad>": 400, "<sep>": 401}},
    "with roles": {
        "added_tokens.json": {"<sep>": 400},
        "special_tokens_map.json": {"bos_token": "<s>", "sep_token": "<sep>"},
    },
    "roles alone": {
        "special_tokens_map.json": {
            "pad_token": "<pad>", "additional_special_tokens": ["<sep>", "<s>"]
        }
    },
    "decoder": {
        "tokenizer_config.json": {"added_tokens_decoder": {"400": flags_of("<sep>", lstrip=True)}}
    },
    "decoder and roles": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {"400": flags_of("<sep>", special=True)},
            "pad_token": "<sep>", "bos_token": "<|endoftext|>",
        },
        "special_tokens_map.json": {"mask_token": flags_of("<s>", rstrip=True)},
    },
    "a beginning": {"tokenizer_config.json": {"add_bos_token": True}},
}  # fmt: skip


@pytest.mark.parametrize("form", ["tokenizer.json", "vocab.json"])
@pytest.mark.parametrize("name", COMPANIONS)
def test_what_lies_beside_a_vocabulary_counts_as_in_transformers(tmp_path, form, name):
    base = huggingface.Tokenizer.from_str(BASE)
    base.save(str(tmp_path / "tokenizer.json")) if form == "tokenizer.json" else base.model.save(
        str(tmp_path)
    )
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    for file, content in COMPANIONS[name].items():
        (tmp_path / file).write_text(json.dumps(content))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = load_folder(tmp_path)
    assert ours.vocab_size == len(theirs)
    put_around = len(theirs("")["input_ids"])
    assert len(ours.encode_prompt("")) == put_around

    @QUICK
    @given(SPACED)
    def same(text):
        ids = ours.encode(text, allowed_special="all").tolist()
        assert ids == theirs(text)["input_ids"][put_around:]

    same()


# --- and the other way ----------------------------------------------------------------------------

TEXT = "The cat sat on the mat. \"It's\" -- low lower_case\n\tnewest (a) é 日本 <|unk|> don't "
OURS = {
    "char": CharTokenizer.train(TEXT),
    "char, unknown": CharTokenizer.train(TEXT, unknown="<|unk|>"),
    "char, no end": CharTokenizer.train(TEXT, end_of_text=False, unknown="<|unk|>"),
    "word": WordTokenizer.train(TEXT),
    "word, with space": WordTokenizer.train(TEXT + "<|endoftext|>", keep_whitespace=True),
    "word BPE": WordBPETokenizer.train(TEXT * 3, num_merges=30),
    "BPE": BPETokenizer.train(TEXT * 3, 280),
    "BPE, special": BPETokenizer.train(TEXT * 3, 280, special_tokens=["<|endoftext|>", "<|user|>"]),
    "BPE, none": BPETokenizer.train(TEXT * 3, 280, special_tokens=[]),
}
PARTS = [
    *TEXT,
    "<|endoftext|>",
    "<|unk|>",
    "</w>",
    "<|user|>",
    "<|end_of_text|>",
    " ",
    "\x1c",
    "\x85",
]


@pytest.mark.parametrize("name", OURS)
def test_what_is_saved_with_a_model_is_read_by_autotokenizer_with_the_same_ids(tmp_path, name):
    ours = OURS[name]
    shutil.rmtree(tmp_path / "m", ignore_errors=True)
    config = npgpt.GPTConfig(ours.vocab_size, 8, n_layers=1, n_heads=1, d_model=4)
    npgpt.GPT(config).save_pretrained(tmp_path / "m", ours)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    assert len(theirs) == ours.vocab_size
    options = {"allowed_special": "all"} if isinstance(ours, BPETokenizer) else {}

    @settings(max_examples=100, phases=[Phase.generate])
    @given(st.lists(st.sampled_from(PARTS) | WHITE_SPACE, max_size=12).map("".join) | TEXTS)
    def same(text):
        try:
            expected = ours.encode(text, **options).tolist()
        except ValueError:  # a character that is not in the vocabulary: an error there too
            with pytest.raises(Exception, match="UNK"):
                theirs(text)
        else:
            assert theirs(text)["input_ids"] == expected

    same()
    back = load_folder(tmp_path / "m")
    assert (type(back), back.fingerprint) == (type(ours), ours.fingerprint)
