"""What a slip of the fingers is answered with: what is wrong, where, and what to do."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npgpt
from npgpt import layers, testing
from npgpt.fields import did_you_mean
from npgpt.layers import BlockConfig, Init, Layer, Parameter
from tests.models.tiny import CONFIGS, shaken_model

CONFIG = CONFIGS["tied"]
IDS = np.array([[1, 2, 3]])
X = np.ones((1, 3, 8))


def gpt():
    return shaken_model(CONFIG)


def after_forward(act):
    def run():
        model = gpt()
        model.forward(IDS)
        act(model)

    return run


class WithoutInit(Layer):
    def __init__(self):
        self.w = Parameter(np.ones(3))

    def forward(self, x):
        self.keep(x)
        return self.w.value * x


class LinearWithoutInit(layers.Linear):
    def __init__(self):
        self.extra = 1


def trained(**changes):
    windows = npgpt.data.TokenWindows(np.arange(50) % 13, context_length=8)
    loader = npgpt.data.DataLoader(windows, batch_size=2)
    arguments = {"model": gpt(), "train_loader": loader, "steps": 1} | changes
    return lambda: npgpt.Trainer(arguments.pop("model"), arguments.pop("train_loader"), **arguments)


def loaded(**changes):
    def run():
        layer = layers.Linear(3, 2)
        layer.load_state_dict({**layer.state_dict(), **changes})

    return run


SLIPS = [
    # ids
    (lambda: gpt().forward(np.array([1, 2, 3])), ValueError, r"shape \(batch, time\), neither 0, got \(3,\); ids\[None\] makes a batch"),
    (lambda: gpt().loss([1, 2, 3], [1, 2, 3]), ValueError, r"got \(3,\); ids\[None\] makes a batch"),
    (lambda: gpt().forward("The cat"), ValueError, "got .*; encode the text with the tokenizer first"),
    (lambda: gpt().forward([[1, 2], [3]]), ValueError, "rows of different lengths; pad them to one"),
    (lambda: gpt().forward(IDS / 2), ValueError, "token ids must be integers, got dtype float64"),
    (lambda: gpt().forward(IDS - 9), ValueError, "token id -8 at index .* outside the vocabulary"),
    (lambda: gpt().forward(IDS + 99), ValueError, "token id 100 at index .* outside the vocabulary"),
    (lambda: gpt().loss(IDS, IDS[:, 1:]), ValueError, r"targets must have .* \(1, 3\), got \(1, 2\)"),
    (lambda: gpt().loss(IDS, IDS[0]), ValueError, r"targets must have .* \(1, 3\), got \(3,\)"),
    (lambda: gpt().loss(IDS, IDS / 2), ValueError, "targets must be integers, got float64"),
    (lambda: gpt().generate("The cat", 3), ValueError, "must be token ids, not text; encode it"),
    (lambda: gpt().generate(["The", "cat"], 3), ValueError, "must be token ids, not text"),
    (lambda: gpt().generate(5, 3), ValueError, r"must be a sequence of token ids, such as \[5\], got 5"),
    (lambda: gpt().generate(np.array(5), 3), ValueError, "must be a sequence of token ids"),
    (lambda: gpt().generate(None, 3), ValueError, "must be a sequence of token ids"),
    (lambda: gpt().generate([1.5], 3), ValueError, "token ids must be integers, got dtype float64"),
    # backward
    (lambda: gpt().backward(), RuntimeError, "needs a call of loss before it"),
    (after_forward(lambda m: m.backward()), RuntimeError, r"after forward alone, backward_from_logits\(dlogits\)"),
    (after_forward(lambda m: m.backward(np.ones((1, 3, 13)))), RuntimeError, r"backward_from_logits\(dlogits\)"),
    (after_forward(lambda m: (m.loss(IDS, IDS), m.backward(np.ones(3)))), ValueError, "takes dloss, one number, got an array of shape"),
    (after_forward(lambda m: m.backward_from_logits(1.0)), TypeError, r"OutputHead 'head': dy, of the output's shape \(1, 3, 13\), must be an array, got float"),
    (after_forward(lambda m: m.backward_from_logits(np.ones((1, 3, 13), int))), ValueError, "must hold floats, got int"),
    # layers
    (lambda: layers.Linear(3, 2).forward([[1.0, 2.0, 3.0]]), TypeError, r"Linear: the input must be an array, got list; numpy\.asarray makes one"),
    (lambda: layers.Linear(3, 2).forward(np.ones((2, 3), int)), ValueError, r"Linear: the input must hold floats, got int64; x\.astype"),
    (lambda: layers.Linear(3, 2).forward(np.ones((2, 4))), ValueError, r"Linear: expected .* \(\.\.\., 3\) \(d_in = 3\), got \(2, 4\)"),
    (lambda: layers.MultiHeadAttention(BlockConfig(1, 2, 8)).forward(X.tolist()), TypeError, "must be an array, got list"),
    (lambda: layers.TransformerBlock(12), TypeError, r"TransformerBlock: expected a BlockConfig, got 12; it is made by BlockConfig\(\.\.\.\)"),
    (lambda: layers.Stack("small"), TypeError, "Stack: expected a BlockConfig, got 'small'"),
    (lambda: layers.FeedForward({"d_model": 8}), TypeError, "FeedForward: expected a BlockConfig"),
    (lambda: layers.Linear(3, 2, dtype=int), ValueError, "what is learned must be floats, float32 or float64, got int64"),
    (lambda: layers.LayerNorm(3, dtype="int8"), ValueError, "must be floats, .* got int8"),
    (lambda: Parameter([1.0]), TypeError, "Parameter: expected an array, got list"),
    (lambda: layers.Linear(3, 2).astype(np.int32), ValueError, "must be floats, .* got int32"),
    (lambda: WithoutInit().forward(np.ones(3)), RuntimeError, r"WithoutInit: __init__ must call super\(\)\.__init__\(\) before all else"),
    (lambda: npgpt.gradcheck(WithoutInit(), np.ones(3)), RuntimeError, r"must call super\(\)\.__init__\(\)"),
    (lambda: LinearWithoutInit().forward(np.ones((1, 3))), (AttributeError, RuntimeError), r"super\(\)\.__init__\(\)"),
    # models, optimisers, trainers
    (lambda: npgpt.GPT(12), TypeError, r"GPT: expected a GPTConfig, got 12; it is made by GPTConfig\(\.\.\.\)"),
    (lambda: npgpt.GPT(BlockConfig(1, 2, 8)), TypeError, "GPT: expected a GPTConfig, got BlockConfig"),
    (lambda: npgpt.GPT(CONFIG, dtype=int), ValueError, "dtype must be float32, to train, or float64, .* got int64"),
    (lambda: npgpt.GPT(CONFIG, dtype=np.float16), ValueError, "dtype must be float32, .* got float16"),
    (lambda: gpt().astype(int), ValueError, "must be floats, .* got int64"),
    (lambda: Init(dtype=bool), ValueError, "dtype must be float32, .* got bool"),
    (lambda: npgpt.optim.AdamW(gpt()), TypeError, r"AdamW: parameters such as model\.parameters\(\) must come first, got GPT"),
    (trained(model=12), TypeError, "Trainer: model must be a model with a loss, .* got 12"),
    (trained(train_loader=[IDS]), TypeError, "Trainer: train_loader must be a DataLoader, got"),
    (trained(schedule=1e-3), TypeError, r"Trainer: schedule must be a function of the step, got 0\.001"),
    (trained(scores={"a": 1.0}), TypeError, "Trainer: scores must be a function"),
    (trained(callbacks=[print]), TypeError, "Trainer: callbacks must be a list of instances of"),
    (trained(callbacks=npgpt.training.Callback()), TypeError, "Trainer: callbacks must be a list"),
    # sizes, counts and numbers
    (lambda: layers.Linear(-1, 2), ValueError, "Linear: d_in must be at least 0, got -1"),
    (lambda: layers.Linear(3, 2.0), TypeError, r"Linear: d_out must be an integer, got 2\.0"),
    (lambda: layers.LoRALinear(3, -2), ValueError, "LoRALinear: d_out must be at least 0, got -2"),
    (lambda: Init(seed=-1), ValueError, "Init: seed must be at least 0, got -1"),
    (lambda: npgpt.GPT(CONFIG, dtype="floot"), TypeError, "dtype must be float32 or float64, got 'floot'"),
    (lambda: BlockConfig(1, 2, 8, dropout="a"), ValueError, "BlockConfig: dropout must be a number, got 'a'"),
    (lambda: gpt().generate([1], 2.5), TypeError, r"generate: max_new_tokens must be an integer, got 2\.5"),
    (lambda: gpt().generate([1], "3"), TypeError, "generate: max_new_tokens must be an integer, got '3'"),
    (lambda: list(gpt().stream([1], None)), TypeError, "generate: max_new_tokens must be an integer, got None"),
    (lambda: gpt().beam_search([1], 2, 2.5), TypeError, r"beam_search: num_beams must be an integer, got 2\.5"),
    (lambda: npgpt.optim.AdamW(gpt().parameters(), lr="a"), TypeError, "AdamW: lr must be a number, got 'a'"),
    (lambda: npgpt.optim.Adam(gpt().parameters(), betas=0.9), TypeError, r"Adam: betas must be two numbers, got 0\.9"),
    (lambda: npgpt.optim.SGD(gpt().parameters(), momentum=None), TypeError, "SGD: momentum must be a number, got None"),
    (lambda: npgpt.optim.clip_grad_norm(gpt(), 1.0), TypeError, r"such as model\.parameters\(\), got GPT"),
    (lambda: npgpt.optim.clip_grad_norm(gpt().parameters(), "1"), TypeError, "max_norm must be a number, got '1'"),
    (trained(steps=1.5), TypeError, r"Trainer: steps must be an integer, got 1\.5"),
    (trained(clip_norm="a"), TypeError, "Trainer: clip_norm must be a number, got 'a'"),
    (lambda: npgpt.data.TokenWindows(np.arange(9), 2.5), TypeError, r"context_length must be an integer, got 2\.5"),
    (lambda: npgpt.data.DataLoader([1, 2], batch_size=1.5), TypeError, r"batch_size must be an integer, got 1\.5"),
    (lambda: npgpt.set_num_threads(1.5), (TypeError, ValueError), r"set_num_threads: the number must be from 1 to \d+, got 1\.5"),
    (lambda: npgpt.set_num_threads("2"), (TypeError, ValueError), r"the number must be from 1 to \d+, got 2"),
    # state
    (loaded(weight=np.ones((2, 3), int)), ValueError, "weight is float32, the given array is int64"),
    (loaded(weight=np.ones((2, 3), complex)), ValueError, "weight is float32, the given array is complex128"),
    (loaded(weight=[[1.0] * 3] * 2), TypeError, "weight must be an array, got list"),
    (loaded(weihgt=np.ones((2, 3))), ValueError, "no parameter is named weihgt; did you mean 'weight'"),
    (lambda: layers.Linear(3, 2).load_state_dict("a.safetensors"), TypeError, "expected a mapping from names to arrays, .* got str"),
    # names
    (lambda: npgpt.GPTConfig(11, 8, n_layer=2, n_heads=2, d_model=8), TypeError, "GPTConfig: no field is named 'n_layer'; did you mean 'n_layers'"),
    (lambda: npgpt.GPTConfig(11, 8, n_layers=2, n_heads=2, d_model=8, normm="rms"), TypeError, "did you mean 'norm'"),
    (lambda: BlockConfig(1, 1, 8, droput=0.1), TypeError, "BlockConfig: no field is named 'droput'; did you mean 'dropout'"),
    (lambda: npgpt.GPTConfig.from_dict({**CONFIG.to_dict(), "n_head": 2}), ValueError, "GPTConfig: no field is named 'n_head'; did you mean 'n_heads'"),
    (lambda: npgpt.GPTConfig.gpt2("124M", dropuot=0.0), TypeError, "did you mean 'dropout'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("slip", "kind", "message"), SLIPS, ids=[message[:40] for *_, message in SLIPS]
)
def test_a_slip_is_answered_with_a_sentence(slip, kind, message):
    with pytest.raises(kind, match=message):
        slip()


DY = st.sampled_from([1.0, [1.0], None, np.float32(2.0), "dy"])


@given(testing.layers(), DY)
def test_what_is_no_array_is_refused_by_every_layer_on_the_way_back(drawn, dy):
    layer, inputs = drawn
    y = layer.forward(*inputs)
    if np.ndim(y):
        with pytest.raises(
            TypeError, match=r"^\w+.*: dy, of the output's shape .* must be an array"
        ):
            layer.backward(dy)


@given(testing.layers())
def test_what_is_no_array_is_refused_by_every_layer_on_the_way_forward(drawn):
    layer, inputs = drawn
    if inputs[0].dtype.kind == "f":
        with pytest.raises(
            TypeError, match=r"^\w+.*: (the input|logits) must be an array, got list"
        ):
            layer.forward(inputs[0].tolist(), *inputs[1:])


@given(st.data())
def test_a_name_with_a_slip_in_it_is_found_again(data):
    """One letter left out, doubled, or two exchanged, of every name of a tap."""
    names = list(gpt().tap_names())
    name = data.draw(st.sampled_from(names))
    at = data.draw(st.integers(1, len(name) - 2))
    slip = data.draw(
        st.sampled_from(
            [name[:at] + name[at + 1 :], name[:at] + name[at] + name[at:],
             name[: at - 1] + name[at] + name[at - 1] + name[at + 1 :]]
        )
    )  # fmt: skip
    if slip not in names:
        hint = did_you_mean(slip, names)
        assert hint.startswith("; did you mean ")
        assert repr(name) in hint or "blocks." in name


def numbers_of_layers():
    """Yield each layer's class, what it must be given, and each size or number that it takes."""
    for name in layers.__all__:
        made = getattr(layers, name)
        if not (inspect.isclass(made) and issubclass(made, Layer)):
            continue
        parameters = inspect.signature(made).parameters.values()
        of_kind = {p.name: p.annotation for p in parameters if p.annotation in ("int", "float")}
        needed = {p.name: 2 for p in parameters if p.default is p.empty and p.name in of_kind}
        if of_kind and inspect.signature(made).parameters.get("config"):
            needed["config"] = layers.BlockConfig(n_layers=1, n_heads=1, d_model=2)
        for number, kind in of_kind.items():
            yield made, needed, number, kind


@pytest.mark.parametrize(
    ("made", "needed", "number", "kind"),
    list(numbers_of_layers()),
    ids=lambda value: getattr(value, "__name__", None) or (value if isinstance(value, str) else ""),
)
def test_a_layer_says_which_of_its_numbers_is_none(made, needed, number, kind):
    sizes = ("d_", "n_", "vocab", "context", "head_size", "num_", "max_", "rank")
    wrong = ["a", None, [3], *([2.5] if kind == "int" else [])]
    wrong += [-1] if number.startswith(sizes) else []
    for value in wrong:
        with pytest.raises((TypeError, ValueError), match=r"^[A-Z]\w+: .*\bgot "):
            made(**{**needed, number: value})


TOKENIZERS = {
    "char": lambda: npgpt.tokenizers.CharTokenizer.train("the cat"),
    "word": lambda: npgpt.tokenizers.WordTokenizer.train("the cat"),
    "bpe": lambda: npgpt.tokenizers.BPETokenizer.train("the cat", 257),
    "pieces": lambda: npgpt.tokenizers.WordPieceTokenizer.train("the cat", 60),
    "words": lambda: npgpt.tokenizers.WordBPETokenizer.train("the cat", num_merges=1),
}


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("what", [5, None, b"the", ["the", "cat"], 1.5], ids=repr)
def test_a_tokenizer_refuses_what_is_no_text(name, what):
    tokenizer, options = (
        TOKENIZERS[name](),
        {"vocab_size": 257} if name in ("bpe", "pieces") else {},
    )
    for encode in (tokenizer.encode, tokenizer.encode_prompt):
        with pytest.raises(
            TypeError, match=rf"Tokenizer: expected a text, .* got {type(what).__name__}"
        ):
            encode(what)
    if not isinstance(what, list):
        with pytest.raises(TypeError, match="Tokenizer: expected a text, or several, got"):
            type(tokenizer).train(what, **options)
    with pytest.raises(TypeError, match="Tokenizer: expected a text, a str, got int"):
        type(tokenizer).train([1, 2], **options)
    if not np.iterable(what):
        with pytest.raises(TypeError, match=r"ids must be a sequence of integers, such as \[5\]"):
            tokenizer.decode(what)
