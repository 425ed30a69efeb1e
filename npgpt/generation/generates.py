"""What a language model does with the logits of the next token: sample, search, stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from npgpt.generation.beam import beam_search
from npgpt.generation.cached import Cached, Steps
from npgpt.generation.decoders import EveryTime, prompts_of, window_start
from npgpt.generation.loop import generate_tokens

Prompts = Any  # token ids of one sequence, of a batch, or a list of sequences


class Generates(Steps):
    """The part of a language model that generates.

    A family defines `next_logits`, and `new_states`, `start` and `step` for what `Cached` does.
    """

    def next_logits(self, token_ids: np.ndarray) -> np.ndarray:
        """Compute the logits after the last position only, (batch, time) -> (batch, vocab_size).

        Of a sequence longer than the context, the last ``context_length`` tokens count.
        """
        raise TypeError(f"{type(self).__name__} has no next_logits; a model must define it.")

    def decoder(self, max_new_tokens: int, use_cache: bool = True) -> Cached | EveryTime:
        """Make what reads prompts, then token after token, and gives the next one's logits.

        Parameters
        ----------
        max_new_tokens : int
            How many tokens will follow the prompts at most.
        use_cache : bool
            Keep states; otherwise, or if not `reads_in_steps`, all is computed again for each
            token, which gives the same logits.
        """
        if use_cache and self.reads_in_steps:
            return Cached(self, max_new_tokens)
        return EveryTime(
            lambda ids: self.next_logits(ids[:, window_start(ids.shape[1], self.context_length) :])
        )

    def stream(
        self,
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
        with self.evaluating():
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

    def generate(
        self,
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
        self,
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
            raise ValueError(
                f"{type(self).__name__}.beam_search: expected one prompt, got {len(prompt)}."
            )
        with self.evaluating():
            return beam_search(
                self.decoder(max_new_tokens, use_cache),
                prompt[0],
                max_new_tokens,
                num_beams,
                length_penalty,
                stop_id,
            )


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
