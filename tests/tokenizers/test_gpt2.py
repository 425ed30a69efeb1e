"""GPT2Tokenizer: GPT-2's ids, and nothing else."""

import json
import shutil

import pytest
from hypothesis import given, settings

from npgpt import hub, tokenizers
from npgpt.tokenizers import BPETokenizer, GPT2Tokenizer, bpe_from_files, load_folder
from tests.tokenizers.gpt2_files import gpt2_folder
from tests.tokenizers.strategies import BYTES, TEXTS, WITH_SURROGATES

# ids by tiktoken 0.14 (encoding "gpt2")
GOLDEN = {
    "Hello, I am": [15496, 11, 314, 716],
    "Every effort moves you": [6109, 3626, 6100, 345],
    "I'm  sure it's 100%\n\n  naïve": [40, 1101, 220, 1654, 340, 338, 1802, 4, 628, 220, 41492],
    "日本🙂": [33768, 98, 17312, 105, 8582, 25081],
    "Akwirw ier": [33901, 86, 343, 86, 220, 959],
}  # fmt: skip


@pytest.fixture(scope="module")
def gpt2():
    return GPT2Tokenizer.from_pretrained(gpt2_folder())


@pytest.fixture
def folder(tmp_path):
    """A folder of one's own with GPT-2's files."""
    for name in ("encoder.json", "vocab.bpe"):
        shutil.copy(gpt2_folder() / name, tmp_path / name)
    return tmp_path


def test_there_are_50257_tokens_and_the_last_is_end_of_text(gpt2):
    assert (gpt2.vocab_size, gpt2.end_of_text_id) == (50257, 50256)
    names = json.loads((gpt2_folder() / "encoder.json").read_text(encoding="utf-8"))
    saved = tokenizers.tokenizer_json.to_json(gpt2._tokens, gpt2.merges, gpt2.special_ids)
    assert saved["model"]["vocab"] == names


@pytest.mark.parametrize("text", GOLDEN)
def test_ids_are_those_of_gpt2(gpt2, text):
    assert gpt2.encode(text).tolist() == GOLDEN[text]
    assert gpt2.decode(GOLDEN[text]) == text


@settings(max_examples=100)
@given(TEXTS)
def test_decode_of_encode_is_the_text(gpt2, text):
    assert gpt2.decode(gpt2.encode(text), errors="strict") == text


@given(WITH_SURROGATES)
def test_a_text_with_lone_surrogates_comes_back_if_they_are_passed_through(gpt2, text):
    ids = gpt2.encode(text, errors="surrogatepass")
    assert gpt2.decode(ids, errors="surrogatepass") == text


@given(WITH_SURROGATES)
def test_lone_surrogates_can_be_replaced(gpt2, text):
    expected = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert gpt2.decode(gpt2.encode(text, errors="replace")) == expected


@settings(max_examples=100)
@given(BYTES)
def test_every_byte_string_comes_back(gpt2, content):
    assert gpt2.decode_bytes(gpt2.encode_bytes(content)) == content


def test_a_text_from_a_stranger_gets_no_special_token_unless_it_is_allowed(gpt2):
    text = "a<|endoftext|>b"
    assert 50256 not in gpt2.encode(text)
    assert gpt2.encode(text, allowed_special={"<|endoftext|>"}).tolist() == [64, 50256, 65]
    with pytest.raises(ValueError, match=r"<\|endoftext\|> at position 1 is not allowed"):
        gpt2.encode(text, disallowed_special="all")
    both = gpt2.encode(text, allowed_special="all", disallowed_special="all")
    assert both.tolist() == [64, 50256, 65]


def test_both_names_of_the_files_and_tokenizer_json_are_read(folder, gpt2):
    (folder / "encoder.json").rename(folder / "vocab.json")
    (folder / "vocab.bpe").rename(folder / "merges.txt")
    assert GPT2Tokenizer.from_pretrained(folder).merges == gpt2.merges
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    gpt2.save(folder / "tokenizer.json")
    assert GPT2Tokenizer.from_pretrained(str(folder)).merges == gpt2.merges
    assert isinstance(load_folder(folder), GPT2Tokenizer)
    assert isinstance(tokenizers.load(folder / "tokenizer.json"), GPT2Tokenizer)
    assert isinstance(GPT2Tokenizer.load(folder / "tokenizer.json"), GPT2Tokenizer)
    assert type(BPETokenizer.load(folder / "tokenizer.json")) is BPETokenizer


def test_another_vocabulary_of_the_same_form_is_read_but_not_as_gpt2s(folder):
    names = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    merges = (folder / "vocab.bpe").read_text(encoding="utf-8").split("\n")[:101]
    (folder / "vocab.bpe").write_text("\n".join(merges) + "\n", encoding="utf-8")
    small = {name: i for name, i in names.items() if i < 256 + 100} | {"<|endoftext|>": 356}
    (folder / "encoder.json").write_text(json.dumps(small), encoding="utf-8")
    tokenizer = load_folder(folder)
    assert type(tokenizer) is BPETokenizer
    assert tokenizer.vocab_size == 357
    assert tokenizer.decode(tokenizer.encode("the sea")) == "the sea"
    with pytest.raises(ValueError, match=r"these 357 tokens are not GPT-2's 50,257"):
        GPT2Tokenizer.from_pretrained(folder)
    with pytest.raises(ValueError, match="are not GPT-2's"):
        GPT2Tokenizer([])
    with pytest.raises(TypeError, match="already trained"):
        GPT2Tokenizer.train("text", 300)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("encoder.json", b"{", r"encoder\.json is not a whole vocabulary"),
        ("encoder.json", b"[]", r"encoder\.json is not a whole vocabulary: it is not a JSON object"),
        ("encoder.json", b'{"a": 0}', r"vocab\.bpe do not fit: its vocabulary has no '!'"),
        ("vocab.bpe", b"\xff", r"vocab\.bpe is not a whole list of merges"),
        ("vocab.bpe", b"a b\n", r"is neither a byte nor a merge nor special"),
        ("vocab.bpe", b"a\n", r"its merge 0, 'a', is not two tokens"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        bpe_from_files(folder / "encoder.json", folder / "vocab.bpe")


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither vocab\.json and merges\.txt, or encoder"):
        GPT2Tokenizer.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        load_folder(tmp_path / "nowhere")


def test_a_name_on_the_hub_brings_the_tokenizers_files_alone(monkeypatch, gpt2):
    asked = []

    def fetch(name, revision, files):
        asked.append((name, revision, files))
        return gpt2_folder()

    monkeypatch.setattr(hub, "fetch", fetch)
    assert GPT2Tokenizer.from_pretrained("gpt2", revision="main").merges == gpt2.merges
    assert asked == [("gpt2", "main", ("tokenizer.json", "vocab.json", "merges.txt"))]
