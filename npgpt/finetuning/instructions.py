"""Instructions and responses: read, split, encoded; and how good the responses are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from npgpt.data.docstrings import instruction_records
from npgpt.data.records import Record, text_field
from npgpt.data.sequences import Responses
from npgpt.finetuning.config import FineTuningConfig
from npgpt.finetuning.splitting import open_records, split_records
from npgpt.finetuning.templates import prompt_of
from npgpt.generation import continuation, sampling_with
from npgpt.models import LanguageModel
from npgpt.tokenizers import Tokenizer

SHORTEST_RESPONSE = 1  # tokens that must fit behind a prompt, the end of text included


def read_instructions(config: FineTuningConfig) -> dict[str, list[Record]]:
    """Read Alpaca-shaped records (``instruction``, optional ``input``, ``output``) and split them.

    Parts are those of `split_records`.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a record has no instruction or no output; with the row.
    """
    needed = ["instruction", "output"]
    return split_records(config, open_records(config, instruction_records, needed), needed)


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
            text_field(record, output),
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
    """Let a model respond to a prompt, up to its end of text; greedily unless told otherwise."""
    ids = tokenizer.encode(prompt)
    room = model.context_length - len(ids)
    sampling = sampling_with(tokenizer, model, temperature=temperature, seed=0)
    new = model.stream(ids, min(max_new_tokens, max(room, 1)), sampling)
    tokens = (int(token[0]) for token in new)
    return continuation(tokens, tokenizer, sampling, ids, prompt).strip()


@dataclasses.dataclass(frozen=True)
class ResponseScores:
    """How near responses are to what they should be.

    Attributes
    ----------
    responses : list of str
    exact_match : float
        Share of responses that are the expected ones, white space aside.
    rouge_l : float
        Mean ROUGE-L F-measure (Lin 2004).
    """

    responses: list[str]
    exact_match: float
    rouge_l: float


def score_responses(
    model: LanguageModel,
    tokenizer: Tokenizer,
    records: Sequence[Record],
    template: str,
    on_response: Callable[[], None] = lambda: None,
) -> ResponseScores:
    """Let a model respond to records, and compare with their outputs.

    Raises
    ------
    RuntimeError
        If rouge-score is not installed.
    """
    scorer = _rouge_scorer()
    responses, exact, rouge = [], [], []
    for record in records:
        response = respond(model, tokenizer, prompt_of(record, template))
        expected = text_field(record, "output")
        responses.append(response)
        exact.append(" ".join(response.split()) == " ".join(expected.split()))
        rouge.append(scorer.score(expected, response)["rougeL"].fmeasure)
        on_response()
    return ResponseScores(responses, float(np.mean(exact)), float(np.mean(rouge)))


def _rouge_scorer():
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError:
        raise RuntimeError(
            "ROUGE-L needs rouge-score: pip install 'npgpt[rouge]' brings it."
        ) from None
    return RougeScorer(["rougeL"])
