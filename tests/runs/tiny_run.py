"""A run that trains in a second or two."""

from npgpt.runs import TrainingConfig, TranslationConfig

TEXT = "the cat sat on the mat, and the dog sat on the log. " * 60


def tiny_config(folder, **changes):
    """Write a text into the folder; return the config of a small character model of it."""
    corpus = folder / "text.txt"
    corpus.write_text(TEXT, encoding="utf-8")
    settings = {
        "corpus": str(corpus),
        "tokenizer": "char",
        "context_length": 8,
        "n_layers": 1,
        "n_heads": 2,
        "d_model": 16,
        "dropout": 0.1,
        "batch_size": 4,
        "steps": 12,
        "eval_every": 4,
        "eval_batches": 4,
        "lr": 1e-2,
    }
    if changes.get("model", "gpt") != "gpt":
        del settings["n_heads"]  # which others have not
    return TrainingConfig(**{**settings, **changes})


def tiny_pairs_config(folder, model="transformer", **changes):
    """Write pairs into the folder; return the config of a small model that translates them."""
    pairs = folder / "pairs.tsv"
    lines = [f"{word} {n}\t{n} {word[::-1]}\n" for word in ("one", "two", "owl") for n in range(40)]
    pairs.write_text("".join(lines), encoding="utf-8")
    settings = {
        "pairs": str(pairs),
        "tokenizer": "char",
        "n_layers": 1,
        "n_heads": 2,
        "d_model": 8,
        "dropout": 0.1,
        "batch_tokens": 80,
        "steps": 12,
        "eval_every": 4,
        "eval_batches": 2,
        "context_length": 12,
        "lr": 1e-2,
    }
    if model != "transformer":
        del settings["n_heads"]
    return TranslationConfig(model, **{**settings, **changes})
