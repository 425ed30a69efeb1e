"""What a language model does with the logits of the next token: sample, search, stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from npgpt.generation.beam import beam_search
from npgpt.generation.cached import Cached, Steps
from npgpt.generation.decoders import EveryTime, prompts_of, window_start
from npgpt.generation.loop import generate_tokens
from npgpt.generation.sampling import Sampling

Prompts = Any  # token ids of one sequence, of a batch, or a list of sequences


class Generates(Steps):
    """The part of a language model that generates.

    A family defines `next_logits`, and `new_states`, `start` and `step` for what `Cached` does.

    Attributes
    ----------
    sampling : Sampling
        What `generate` and its like begin with: of a model from a folder, where its texts end.
    """

    sampling = Sampling()

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
        sampling: Sampling | None = None,
        *,
        attention_mask: Any = None,
        use_cache: bool = True,
        **choices: Any,
    ) -> Iterator[np.ndarray]:
        """Yield new tokens as they are made; arguments as in `generate`.

        Parameters
        ----------
        token_ids, max_new_tokens, sampling, attention_mask, use_cache, **choices
            As for `generate`.

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
                sampling or self.sampling,
                **choices,
            )

    def generate(
        self,
        token_ids: Prompts,
        max_new_tokens: int,
        sampling: Sampling | None = None,
        *,
        attention_mask: Any = None,
        use_cache: bool = True,
        **choices: Any,
    ) -> Any:
        """Continue each sequence by sampling one token at a time.

        Keys and values of tokens that have been read are kept, so a step costs one token's work.

        Parameters
        ----------
        token_ids : ndarray of int, shape (time,) or (batch, time), or list of sequences
            The prompt, or several; a list may hold prompts of different lengths.
        max_new_tokens : int
        sampling : Sampling, optional
            By default the model's own, ``model.sampling``.
        attention_mask : ndarray, shape (batch, time), optional
            0 where ``token_ids`` are padding, at the left or the right end of each row, as
            tokenizers make it; padding has no influence at all.
        use_cache : bool
            False computes everything again for each token.
        **choices
            Fields of `npgpt.generation.Sampling` in the place of those of ``sampling``:
            ``temperature``, ``top_k``, ``top_p``, ``repetition_penalty``, ``seed``, ``stop_id`` and
            more.

        Returns
        -------
        ndarray of int64, or list of ndarray
            ``token_ids`` with up to ``max_new_tokens`` more on the last axis; a list for a list of
            sequences of different lengths.

        Raises
        ------
        ValueError
            If a prompt is empty, or an argument out of range.
        TypeError
            If `Sampling` has no field of a name.

        Warns
        -----
        ContextWarning
            If prompt and new tokens are longer than the context: the oldest tokens are forgotten,
            a quarter of the context at a time.
        """
        new = list(
            self.stream(
                token_ids,
                max_new_tokens,
                sampling,
                attention_mask=attention_mask,
                use_cache=use_cache,
                **choices,
            )
        )
        return with_new_tokens(token_ids, new)

    def beam_search(
        self,
        token_ids: np.ndarray | Sequence[int],
        max_new_tokens: int,
        num_beams: int = 4,
        length_penalty: float = 1.0,
        sampling: Sampling | None = None,
        *,
        use_cache: bool = True,
        **choices: Any,
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
        sampling : Sampling, optional
            Its ``stop_id`` and ``suppressed``; nothing is drawn. By default the model's own.
        use_cache : bool
            False computes everything again for each token.
        **choices
            Fields of `npgpt.generation.Sampling`, such as ``stop_id``.

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
                sampling or self.sampling,
                **choices,
            )


def with_new_tokens(token_ids: Prompts, new: list[np.ndarray]) -> Any:
    """Put new tokens, each (batch,), behind the prompts in the form these came in.

    Parameters
    ----------
    token_ids : sequence of int, ndarray, or list of them
        The prompts.
    new : list of ndarray of int, each of shape (batch,)
    """
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
