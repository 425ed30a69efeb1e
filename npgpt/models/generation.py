"""What a GPT does with the logits of the next token: sample, search, stream, score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from npgpt.generation import (
    EveryTime,
    beam_search,
    generate_tokens,
    prompts_of,
    window_start,
)
from npgpt.models.decoder import Decoder

Prompts = Any  # token ids of one sequence, of a batch, or a list of sequences


class Generation:
    """The part of `GPT` that generates, and says how likely a text is."""

    def next_logits(self: Any, token_ids) -> np.ndarray:
        """Compute the logits after the last position only, (batch, time) -> (batch, vocab_size).

        Of a sequence longer than the context, the last ``context_length`` tokens count.
        """
        token_ids = np.asarray(token_ids)[:, -self.config.context_length :]
        x = self.hidden_states(token_ids)[:, -1:]  # (batch, 1, d_model)
        return self.head.forward(x)[:, 0]

    def decoder(self: Any, max_new_tokens: int, use_cache: bool = True) -> Decoder | EveryTime:
        """Make what reads prompts, then token after token, and gives the next one's logits.

        Parameters
        ----------
        max_new_tokens : int
            How many tokens will follow the prompts at most.
        use_cache : bool
            Keep keys and values; otherwise everything is computed again for each token, which
            gives the same logits and shows that it does.
        """
        if use_cache:
            return Decoder(self, max_new_tokens)
        context = self.config.context_length
        return EveryTime(
            lambda ids: self.next_logits(ids[:, window_start(ids.shape[1], context) :])
        )

    def stream(
        self: Any,
        token_ids: Prompts,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop_id: int | None = None,
        repetition_penalty: float = 1.0,
        attention_mask=None,
        use_cache: bool = True,
    ) -> Iterator[np.ndarray]:
        """Yield new tokens as they are made; arguments as in `generate`.

        Yields
        ------
        ndarray of int, shape (batch,)
        """
        prompts = prompts_of(token_ids, attention_mask)
        was_training = self.training
        self.eval()
        try:
            yield from generate_tokens(
                self.decoder(max_new_tokens, use_cache),
                prompts,
                max_new_tokens,
                temperature,
                top_k,
                top_p,
                seed,
                stop_id,
                repetition_penalty,
            )
        finally:
            self.train(was_training)

    def generate(
        self: Any,
        token_ids: Prompts,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop_id: int | None = None,
        repetition_penalty: float = 1.0,
        attention_mask=None,
        use_cache: bool = True,
    ) -> Any:
        """Continue each sequence by sampling one token at a time.

        Keys and values of tokens that have been read are kept, so a step costs one token's work.

        Parameters
        ----------
        token_ids : ndarray of int, shape (time,) or (batch, time), or list of sequences
            The prompt, or several; a list may hold prompts of different lengths.
        max_new_tokens : int
        temperature : float
            Divides the logits; 0 takes the likeliest token every time (greedy).
        top_k : int, optional
            Keep the ``top_k`` likeliest tokens only.
        top_p : float, optional
            Keep the smallest set of likeliest tokens whose probability reaches ``top_p`` (nucleus
            sampling, Holtzman et al. 2020, arXiv 1904.09751).
        seed : int, optional
            The same seed gives the same text.
        stop_id : int, optional
            A sequence that draws this token is finished; it is filled with the token while others
            of the batch go on.
        repetition_penalty : float
            Above 1, tokens that the sequence holds already become less likely: their positive
            logits are divided by it, negative ones multiplied (Keskar et al. 2019, arXiv
            1909.05858, section 4.1).
        attention_mask : ndarray, shape (batch, time), optional
            0 where ``token_ids`` are padding, at the left or the right end of each row, as
            tokenizers make it; padding has no influence at all.
        use_cache : bool
            False computes everything again for each token.

        Returns
        -------
        ndarray of int64, or list of ndarray
            ``token_ids`` with up to ``max_new_tokens`` more on the last axis; a list for a list of
            sequences of different lengths.

        Warns
        -----
        ContextWarning
            If prompt and new tokens are longer than the context: the oldest tokens are forgotten,
            a quarter of the context at a time.
        """
        new = list(
            self.stream(
                token_ids, max_new_tokens, temperature, top_k, top_p, seed, stop_id,
                repetition_penalty, attention_mask, use_cache,
            )
        )  # fmt: skip
        return with_new_tokens(token_ids, new)

    def beam_search(
        self: Any,
        token_ids: np.ndarray | Sequence[int],
        max_new_tokens: int,
        num_beams: int = 4,
        length_penalty: float = 1.0,
        stop_id: int | None = None,
        use_cache: bool = True,
    ) -> np.ndarray:
        """Find a continuation of high probability, keeping several at a time.

        Parameters
        ----------
        token_ids : ndarray of int, shape (time,)
            The prompt.
        max_new_tokens : int
        num_beams : int
            Continuations that are kept; 1 is greedy.
        length_penalty : float
            Finished continuations are compared by ``log p / length ** length_penalty``.
        stop_id : int, optional
            The token that ends a continuation.
        use_cache : bool
            False computes everything again for each token.

        Returns
        -------
        ndarray of int64, shape (time + new tokens,)
            The prompt and its best continuation.
        """
        prompt = prompts_of(token_ids)
        if len(prompt) != 1:
            raise ValueError(f"GPT.beam_search: expected one prompt, got {len(prompt)}.")
        was_training = self.training
        self.eval()
        try:
            return beam_search(
                self.decoder(max_new_tokens, use_cache),
                prompt[0],
                max_new_tokens,
                num_beams,
                length_penalty,
                stop_id,
            )
        finally:
            self.train(was_training)

    def log_likelihood(self: Any, prompt, continuation) -> float:
        """Compute the logarithm of the probability that the prompt goes on like this, in nats.

        ``sum_t log p(continuation_t | prompt, continuation_1 .. continuation_t-1)``, without
        dropout. Divided by the number of tokens and negated it is the continuation's loss.

        Parameters
        ----------
        prompt : array_like of int, shape (time,)
            At least one token; ``<|endoftext|>`` for the beginning of a text. Of a long one the
            last tokens count, as many as the context has room for.
        continuation : array_like of int, shape (time,)
            At most ``context_length`` tokens.

        Raises
        ------
        ValueError
            If either is empty, or the continuation longer than the context.

        Examples
        --------
        >>> import npgpt
        >>> model = npgpt.GPT(npgpt.GPTConfig(7, 4, n_layers=1, n_heads=1, d_model=4))
        >>> both = model.log_likelihood([1, 2], [3, 4])
        >>> step_by_step = model.log_likelihood([1, 2], [3]) + model.log_likelihood([1, 2, 3], [4])
        >>> abs(both - step_by_step) < 1e-5
        True
        """
        prompt, continuation = np.atleast_1d(prompt), np.atleast_1d(continuation)
        if prompt.ndim != 1 or continuation.ndim != 1 or not prompt.size or not continuation.size:
            raise ValueError(
                "GPT.log_likelihood: prompt and continuation must be sequences of at least one "
                f"token, got shapes {prompt.shape} and {continuation.shape}."
            )
        if continuation.size > self.config.context_length:
            raise ValueError(
                f"GPT.log_likelihood: a continuation of {continuation.size} tokens is longer than "
                f"the context of {self.config.context_length}."
            )
        token_ids = np.concatenate([prompt, continuation])[-self.config.context_length - 1 :]
        targets = token_ids[1:].copy()
        targets[: -continuation.size] = self.cross_entropy.ignore_index
        was_training = self.training
        self.eval()
        try:
            loss = self.evaluation_loss(token_ids[None, :-1], targets[None])
        finally:
            self.train(was_training)
        return -float(loss) * continuation.size


def with_new_tokens(token_ids: Prompts, new: list[np.ndarray]) -> Any:
    """Put new tokens, each (batch,), behind the prompts in the form these came in."""
    columns = np.stack(new, axis=1) if new else None
    prompts = prompts_of(token_ids)
    longer = [
        prompt if columns is None else np.concatenate([prompt, columns[row]])
        for row, prompt in enumerate(prompts)
    ]
    if np.ndim(token_ids[0]) == 0:
        return longer[0]
    same = len({len(row) for row in prompts}) == 1
    return np.stack(longer) if same else longer
