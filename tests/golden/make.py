"""Write the golden files, with PyTorch: ``python -m tests.golden.make``, by hand, once.

They let the plain test command compare with PyTorch's numbers where PyTorch is not installed.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

from npgpt.tokenizers import BPETokenizer, WordPieceTokenizer
from tests.golden import bert, marian
from tests.golden.optimizers import OPTIMIZERS, WEIGHT_DECAY
from tests.golden.recurrent import GOLDEN, recurrent
from tests.models.tiny import CONFIGS, batch_for, shaken_model
from tests.parity.nanogpt import drawn
from tests.parity.torch_gpt import twin_name, twin_of, twin_optimizer
from tests.parity.torch_recurrent import torch_results

FOLDER = Path(__file__).parent
ADDED_TOKENS = {
    "<sep>": {},
    "<left>": {"lstrip": True},
    "<right>": {"rstrip": True, "normalized": False},
    "<word>": {"single_word": True},
}
STEPS, LR, BETAS = 50, 1e-3, (0.9, 0.99)


def golden_path(name):
    """Return the file of a configuration."""
    return FOLDER / f"{name.replace(', ', '_').replace(' ', '_')}.safetensors"


def make(name):
    """Write one file: weights, batch, logits, loss, gradients, and the weights after 50 steps."""
    config = CONFIGS[name]
    model = shaken_model(config)
    twin = twin_of(model)
    inputs, targets = batch_for(config)
    arrays = {f"weight.{key}": value for key, value in model.state_dict().items()}
    arrays |= {"inputs": inputs, "targets": targets}
    loss = twin.loss(torch.from_numpy(inputs), torch.from_numpy(targets))
    loss.backward()
    arrays["logits"] = twin(torch.from_numpy(inputs)).detach().numpy()
    arrays["loss"] = loss.detach().numpy()
    theirs = dict(twin.named_parameters())
    for key in model.state_dict():
        arrays[f"grad.{key}"] = theirs[twin_name(key)].grad.numpy().copy()
    arrays |= trained("trained", model, twin, twin_optimizer(twin, LR, BETAS, WEIGHT_DECAY))
    save_file(arrays, golden_path(name))


def trained(prefix, model, twin, optimizer):
    """Take 50 steps of an optimiser of PyTorch; return the weights by our names."""
    for step in range(STEPS):
        inputs, targets = batch_for(model.config, seed=step)
        optimizer.zero_grad()
        twin.loss(torch.from_numpy(inputs), torch.from_numpy(targets)).backward()
        optimizer.step()
    theirs = dict(twin.named_parameters())
    keys = model.state_dict()
    return {f"{prefix}.{key}": theirs[twin_name(key)].detach().numpy().copy() for key in keys}


def make_optimizers():
    """Write the weights after 50 steps of the other optimisers, from those of "tied"."""
    arrays = {}
    for name, (_, theirs, settings) in OPTIMIZERS.items():
        model = shaken_model(CONFIGS["tied"])
        twin = twin_of(model)
        optimizer = getattr(torch.optim, theirs)(twin.parameters(), **settings)
        arrays |= trained(name, model, twin, optimizer)
    save_file(arrays, FOLDER / "optimizers.safetensors")


def make_nanogpt():
    """Write the weights of a nanoGPT that is not ours, ids, and its logits."""
    model, ids = drawn(), torch.arange(24).reshape(2, 12) * 7 % 31
    arrays = {name: array.numpy().copy() for name, array in model.state_dict().items()}
    logits = model(ids).detach().numpy()
    save_file({**arrays, "ids": ids.numpy(), "logits": logits}, FOLDER / "nanogpt.safetensors")


def make_added_tokens():
    """Write a tokenizer.json with added tokens and a template, and the library's ids of texts."""
    from tokenizers import AddedToken, Tokenizer, processors

    theirs = Tokenizer.from_str(BPETokenizer.train("low lower lowest " * 9, 264).to_json())
    theirs.add_special_tokens(["<s>"])
    for name, flags in ADDED_TOKENS.items():
        theirs.add_tokens([AddedToken(name, **flags)])
    theirs.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", theirs.token_to_id("<s>"))]
    )
    names = ["<sep>", "<left>", "<right>", "<word>", "low", " ", "x", "\n", "<|endoftext|>", "é"]
    rng = np.random.default_rng(0)
    texts = ["a<sep>b", *("".join(rng.choice(names, 6)) for _ in range(40))]
    content = {
        "tokenizer": json.loads(theirs.to_str()),
        "ids": {text: theirs.encode(text).ids for text in texts},
    }
    (FOLDER / "added_tokens.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


def make_word_piece():
    """Write WordPiece vocabularies, texts, and what the library makes of them, alone and paired."""
    from tokenizers import Tokenizer

    rng, contents = np.random.default_rng(0), {}
    pieces = [
        "the ",
        "cat",
        "Sat",
        "é",
        "É",
        "İ",
        "ß",
        "中",
        "한",
        "\uf900",
        "≮",
        ".",
        "[MASK]",
        "##",
    ]
    pieces += ["\u302e", "\U0001d165", "\u0301", "\x85", "\xad", "\u3000", " ", "\n", "z" * 101]
    pieces += ["\u1734", "\u1c89", "\u166d", "\U0001e944", "\U000111c9", "\u08d4", "\U0001171e"]
    corpus = "".join(rng.choice(pieces, 400))
    texts = ["", "The cat.", *("".join(rng.choice(pieces, 9)) for _ in range(60))]
    for lowercase in (True, False):
        ours = WordPieceTokenizer.train(corpus, 120, lowercase=lowercase)
        theirs = Tokenizer.from_str(ours.to_json())
        theirs.encode_special_tokens = True
        rows = [[text, theirs.encode(text, add_special_tokens=False).ids] for text in texts]
        theirs.enable_truncation(16)
        for row in rows:
            pair = theirs.encode(row[0], row[0][::-1])
            row.append([pair.ids, pair.type_ids])
        content = {"tokenizer": json.loads(theirs.to_str()), "texts": rows}
        contents["uncased" if lowercase else "cased"] = content
    (FOLDER / "word_piece.json").write_text(json.dumps(contents) + "\n", encoding="utf-8")


def make_recurrent():
    """Write what PyTorch's recurrent layers return, and every gradient."""
    arrays = {}
    for name in GOLDEN:
        example = recurrent(name)
        results = torch_results(*example)
        results |= {f"weight.{key}": value for key, value in example[0].state_dict().items()}
        arrays |= {f"{name}/{key}": array for key, array in results.items()}
    save_file(arrays, FOLDER / "recurrent.safetensors")


def make_bert():
    """Write what transformers' BERTs return for the weights of ours, and every gradient."""
    arrays = {}
    for kind, (name, _) in bert.KINDS.items():
        model = bert.bert(kind)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder, overwrite=True)
            theirs = getattr(transformers, name).from_pretrained(
                folder, dtype=torch.float64, attn_implementation="eager"
            )
        out = theirs.eval()(
            input_ids=torch.from_numpy(bert.IDS),
            attention_mask=torch.from_numpy(bert.THERE.astype(int)),
            token_type_ids=torch.from_numpy(bert.SEGMENTS),
            labels=torch.from_numpy(bert.LABELS if kind == "classes" else bert.TARGETS),
        )
        out.loss.backward()
        rows = ... if kind == "classes" else bert.THERE
        results = {"logits": out.logits.detach().numpy()[rows], "loss": out.loss.detach().numpy()}
        results |= {
            f"grad.{key}": p.grad.numpy()
            for key, p in theirs.named_parameters()
            if p.grad is not None
        }
        state = {key: array.numpy() for key, array in theirs.state_dict().items()}
        names = bert.by_their_names(kind, model.state_dict())
        results |= {f"weight.{key}": state[key] for key in names}
        arrays |= {f"{kind}/{key}": np.array(array) for key, array in results.items()}
    save_file(arrays, FOLDER / "bert.safetensors")


def make_marian():
    """Write what transformers' MarianMT returns for the weights of ours, with its translations."""
    model = marian.marian()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, overwrite=True)
        theirs = transformers.MarianMTModel.from_pretrained(
            folder, dtype=torch.float64, attn_implementation="eager"
        )
    theirs.final_logits_bias = torch.nn.Parameter(theirs.final_logits_bias)
    for side in (theirs.model.encoder, theirs.model.decoder):
        side.embed_tokens.padding_idx = None  # otherwise the start of targets gets no gradient
    there = np.arange(marian.IDS.shape[1]) < marian.LENGTHS[:, None]
    sources = {
        "input_ids": torch.from_numpy(marian.IDS),
        "attention_mask": torch.from_numpy(there.astype(int)),
    }
    out = theirs.eval()(**sources, decoder_input_ids=torch.from_numpy(marian.TARGET_IDS))
    targets = torch.from_numpy(marian.TARGETS).flatten()
    loss = torch.nn.functional.cross_entropy(out.logits.flatten(0, 1), targets)
    loss.backward()
    arrays = {"logits": out.logits.detach().numpy(), "loss": loss.detach().numpy()}
    arrays |= {f"grad.{key}": p.grad.numpy() for key, p in theirs.named_parameters()}
    arrays |= {
        f"weight.{key}": np.array(array)
        for key, array in marian.by_their_names(model.state_dict()).items()
    }
    for beams in marian.BEAMS:
        found = theirs.generate(**sources, num_beams=beams, early_stopping=False)[:, 1:].numpy()
        for i, row in enumerate(found):
            length = np.flatnonzero(row == marian.END)[0] + 1
            arrays[f"beams {beams}, {i}"] = row[:length].copy()
    arrays = {key: np.array(a) for key, a in arrays.items() if "embed_positions" not in key}
    save_file(arrays, FOLDER / "marian.safetensors")


if __name__ == "__main__":
    for configuration in CONFIGS:
        make(configuration)
    make_nanogpt()
    make_added_tokens()
    make_word_piece()
    make_optimizers()
    make_recurrent()
    make_bert()
    make_marian()
