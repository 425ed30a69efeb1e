"""What a folder of a translator says about its translations, in transformers' words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from npgpt.hub.generation_config import said_of_generation

# settings that change which tokens are found, and their values that do not
UNCHANGED: dict[str, tuple[Any, ...]] = {
    "do_sample": (False,),
    "early_stopping": (False,),
    "repetition_penalty": (1.0,),
    "encoder_repetition_penalty": (1.0,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "forced_bos_token_id": (),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "sequence_bias": (),
    "exponential_decay_length_penalty": (),
    "num_beam_groups": (1,),
    "diversity_penalty": (0.0,),
    "penalty_alpha": (0.0,),
}


def read_translating(folder: str | Path) -> dict[str, Any]:
    """Read what ``generation_config.json`` and ``config.json`` say about translations.

    Parameters
    ----------
    folder : path
        Of a model. Either file may be missing; of a key that both have, the first file's value
        counts, as in transformers, unless it is null.

    Returns
    -------
    dict
        Fields of a `npgpt.generation.Translating`.

    Raises
    ------
    ValueError
        If a file is damaged, or says what npgpt's search does not have.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> text = '{"decoder_start_token_id": 7, "eos_token_id": 0, "bad_words_ids": [[7]]}'
    >>> _ = (folder / "config.json").write_text(text)
    >>> found = read_translating(folder)
    >>> found["start_id"], found["suppressed"]
    (7, (7,))
    """
    said = said_of_generation(folder)
    for key, harmless in UNCHANGED.items():
        if key in said and said[key][1] not in harmless:
            path, value = said[key]
            raise ValueError(
                f"{path}: {key} is {value!r}, which npgpt's beam search does not have."
            )
    start, pad = (_token(said, key) for key in ("decoder_start_token_id", "pad_token_id"))
    if pad is not None and start is not None and start != pad:
        where = said["pad_token_id"][0]
        raise ValueError(
            f"{where}: decoder_start_token_id must be the pad_token_id, got {start} and {pad}."
        )
    fields: dict[str, Any] = {
        "start_id": pad if start is None else start,
        "end_id": _token(said, "eos_token_id"),
        "forced_end_id": _token(said, "forced_eos_token_id"),
        "suppressed": tuple(_single_words(said)),
        "renormalize": bool(said.get("renormalize_logits", ("", False))[1]),
    }
    if "max_new_tokens" in said:
        fields["max_new_tokens"] = _whole(said, "max_new_tokens", 1)
    elif "max_length" in said:
        fields["max_new_tokens"] = _whole(said, "max_length", 2) - 1  # the start is one of them
    if "num_beams" in said:
        fields["num_beams"] = _whole(said, "num_beams", 1)
    if "length_penalty" in said:
        path, penalty = said["length_penalty"]
        if not isinstance(penalty, (int, float)) or isinstance(penalty, bool):
            raise ValueError(f"{path}: length_penalty must be a number, got {penalty!r}.")
        fields["length_penalty"] = float(penalty)
    return fields


def translating_content(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the fields of a `npgpt.generation.Translating` as transformers reads them.

    Parameters
    ----------
    fields : mapping

    Returns
    -------
    generation : dict
        For ``generation_config.json``.
    ends : dict
        What of it ``config.json`` holds too.

    Raises
    ------
    ValueError
        If they do not say where a target begins and ends.
    """
    if fields["start_id"] is None or fields["end_id"] is None:
        raise ValueError(
            "save_pretrained: a translator's folder says what targets begin and end with, which "
            "the model does not; set model.translating = npgpt.generation.Translating("
            "start_id=..., end_id=...) first."
        )
    ends = {
        "decoder_start_token_id": fields["start_id"],
        "pad_token_id": fields["start_id"],
        "bos_token_id": None,
        "eos_token_id": fields["end_id"],
        "forced_eos_token_id": fields["forced_end_id"],
    }
    generation = {
        **ends,
        "num_beams": fields["num_beams"],
        "length_penalty": fields["length_penalty"],
        "early_stopping": False,
        "renormalize_logits": fields["renormalize"],
    }
    if fields["max_new_tokens"] is not None:
        generation["max_length"] = fields["max_new_tokens"] + 1
    if fields["suppressed"]:
        generation["bad_words_ids"] = [[i] for i in sorted(fields["suppressed"])]
    return generation, ends


def _token(said: Mapping[str, tuple[Path, Any]], key: str) -> int | None:
    return _whole(said, key, 0) if key in said else None


def _whole(said: Mapping[str, tuple[Path, Any]], key: str, least: int) -> int:
    path, value = said[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        kind = "a token id" if key.endswith("_id") else f"a whole number from {least} on"
        raise ValueError(f"{path}: {key} must be {kind}, got {value!r}.")
    return value


def _single_words(said: Mapping[str, tuple[Path, Any]]) -> Iterator[int]:
    """Yield the tokens of ``bad_words_ids``, each of which must be one token."""
    path, words = said.get("bad_words_ids", (Path(), []))
    for word in words if isinstance(words, list) else [words]:
        if not isinstance(word, list) or [type(i) for i in word] != [int] or word[0] < 0:
            raise ValueError(
                f"{path}: bad_words_ids must hold lists of one token id, got {word!r}; npgpt "
                "suppresses single tokens only."
            )
        yield word[0]
