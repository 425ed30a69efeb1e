"""Instructions and responses: read, split, encoded; and how good the responses are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npgpt.data.docstrings import instruction_records
from npgpt.data.left_out import NO_UNICODE, LeftOut, is_unicode
from npgpt.data.records import Record, text_field
from npgpt.data.sequences import Responses
from npgpt.finetuning.config import FineTuningConfig
from npgpt.finetuning.splitting import Keep, open_records, split_records
from npgpt.finetuning.templates import prompt_of
from npgpt.generation import continuation, sampling_with
from npgpt.models import LanguageModel
from npgpt.tokenizers import Tokenizer

SHORTEST_RESPONSE = 1  # tokens that must fit behind a prompt, the end of text included


def read_instructions(
    config: FineTuningConfig, left_out: LeftOut, keep: Keep = list
) -> dict[str, list[Record]]:
    """Read Alpaca-shaped records (``instruction``, optional ``input``, ``output``) and split them.

    Parts are those of `split_records`, which also says what is left out.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a record has no instruction or no output; with the row.
    """
    needed = ["instruction", "output"]
    records = open_records(config, instruction_records, needed)
    return split_records(config, records, needed, left_out, keep=keep)


def with_room(
    records: Sequence[Record],
    template: str,
    tokenizer: Tokenizer,
    context_length: int,
    left_out: LeftOut,
) -> list[Record]:
    """Return the records whose prompt leaves room for a response; leave the others out.

    Raises
    ------
    ValueError
        If an ``input`` is there but is no text; with the row.
    """
    kept = []
    for record in records:
        prompt = prompt_of(record, template)
        if not is_unicode(prompt):
            left_out.add(record, f"the prompt {NO_UNICODE}")
            continue
        length = len(tokenizer.encode(prompt))
        if length + SHORTEST_RESPONSE > context_length:
            rest = f"fills the context of {context_length}, so there is no room for a response"
            left_out.add(record, f"the prompt {rest}", f"the prompt of {length} tokens {rest}")
        else:
            kept.append(record)
    return kept


def encode_pair(
    record: Record, prompt: str, response: str, tokenizer: Tokenizer, context_length: int
) -> tuple[np.ndarray, int]:
    """Encode a prompt and its response, with the end of text behind it; return prompt's length too.

    A response that the context cuts off has no end of text.

    Raises
    ------
    ValueError
        If the prompt leaves no room for a response, or the tokenizer has no end-of-text token.
    """
    end = tokenizer.end_of_text_id
    if end is None:
        raise ValueError(
            "The base model's tokenizer has no end-of-text token, so that a response could not "
            "end; train one with --tokenizer bpe."
        )
    prompt_ids = tokenizer.encode(prompt)
    if len(prompt_ids) + SHORTEST_RESPONSE > context_length:
        raise ValueError(
            f"{record.where}: the prompt of {len(prompt_ids)} tokens fills the context of "
            f"{context_length}, so there is no room for a response."
        )
    whole = np.concatenate([prompt_ids, tokenizer.encode(response), [end]])
    return whole[: context_length + 1], len(prompt_ids)  # the last token is a target only


def response_of(record: Record, name: str) -> str:
    """Return a response as it is learned: exactly, but for spaces at its very end.

    Byte-pair tokens hold a space before their word; one with nothing behind it would be a token
    that no text has there.
    """
    return text_field(record, name).rstrip(" ")


def encode_responses(
    records: Sequence[Record],
    template: str,
    tokenizer: Tokenizer,
    context_length: int,
    mask_prompt: bool = True,
    output: str = "output",
) -> Responses:
    """Encode records to prompts with responses."""
    pairs = [
        encode_pair(
            record,
            prompt_of(record, template),
            response_of(record, output),
            tokenizer,
            context_length,
        )
        for record in records
    ]
    texts, lengths = zip(*pairs, strict=True)
    return Responses(texts, lengths, mask_prompt)


def respond(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: str,
    max_new_tokens: int = 60,
    temperature: float = 0.0,
) -> str:
    """Let a model respond to a prompt, up to its end of text; greedily unless told otherwise.

    The response is what the model wrote, its indentation included; empty lines before it and white
    space after it are left out.
    """
    ids = tokenizer.encode(prompt)
    room = model.context_length - len(ids)
    sampling = sampling_with(tokenizer, model, temperature=temperature, seed=0)
    new = model.stream(ids, min(max_new_tokens, max(room, 1)), sampling)
    tokens = (int(token[0]) for token in new)
    text = continuation(tokens, tokenizer, sampling, ids, prompt)
    if not prompt[-1:].isspace():
        text = text.removeprefix(" ")  # which parts it from the prompt
    return text.lstrip("\r\n").rstrip()


@dataclasses.dataclass(frozen=True)
class ResponseScores:
    """How near responses are to what they should be.

    Attributes
    ----------
    responses : list of str
    exact_match : float
        Share of responses that are the expected ones, white space aside.
    rouge_l : float or None
        Mean ROUGE-L F-measure (Lin 2004); None without rouge-score, which computes it.
    """

    responses: list[str]
    exact_match: float
    rouge_l: float | None


def score_responses(
    model: LanguageModel,
    tokenizer: Tokenizer,
    records: Sequence[Record],
    template: str,
    on_response: Callable[[], None] = lambda: None,
) -> ResponseScores:
    """Let a model respond to records, and compare with their outputs."""
    scorer = _rouge_scorer()
    responses, exact, rouge = [], [], []
    for record in records:
        response = respond(model, tokenizer, prompt_of(record, template))
        expected = text_field(record, "output")
        responses.append(response)
        exact.append(" ".join(response.split()) == " ".join(expected.split()))
        if scorer is not None:
            rouge.append(scorer.score(expected, response)["rougeL"].fmeasure)
        on_response()
    rouge_l = float(np.mean(rouge)) if scorer is not None else None
    return ResponseScores(responses, float(np.mean(exact)), rouge_l)


def _rouge_scorer() -> Any:
    """Make what computes ROUGE-L; None where rouge-score is not installed."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError:
        return None
    return RougeScorer(["rougeL"])
