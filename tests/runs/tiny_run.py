"""A run that trains in a second or two."""

from npgpt.runs import TrainingConfig

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
