"""What a model of pairs does: find the likeliest targets, and say where it looked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from npgpt.fields import short_repr
from npgpt.generation.beam import LENGTH_PENALTIES, search_beams
from npgpt.generation.cached import Cached, Steps
from npgpt.generation.decoders import EveryTime, StepByStep, prompts_of
from npgpt.generation.sampling import Sampling
from npgpt.generation.translating import Translating
from npgpt.layers import Layer, OutputHead
from npgpt.layers.core.taps import Listening

MOST_NEW_TOKENS = 128  # of a translation, unless more are asked for


class Encoded(NamedTuple):
    """What an encoder made of sources.

    Parameters
    ----------
    values : ndarray, shape (batch, source, d_model)
        Of each position; behind a source's length they mean nothing.
    lengths : ndarray of int, shape (batch,)
    states : tuple of ndarray, each (layers, batch, d_model)
        What the decoder begins with; nothing in a Transformer.
    """

    values: np.ndarray
    lengths: np.ndarray
    states: tuple[np.ndarray, ...] = ()

    def __repr__(self) -> str:
        return short_repr(self)

    def repeated(self, times: int) -> Encoded:
        """Put each source ``times`` beside itself, for beams."""
        states = tuple(np.repeat(array, times, axis=1) for array in self.states)
        return Encoded(np.repeat(self.values, times, 0), np.repeat(self.lengths, times), states)


class Translation(NamedTuple):
    """A target that was found for a source.

    Parameters
    ----------
    token_ids : ndarray of int64, shape (time,)
        Its tokens; the end token, if it was reached, is the last.
    log_p : float
        The logarithm of its probability, in nats.
    score : float
        ``log_p`` divided by what its length is worth.
    alignment : ndarray, shape (time, source), or None
        How much the decoder looked at each source position as it made each token.
    """

    token_ids: np.ndarray
    log_p: float
    score: float
    alignment: np.ndarray | None = None

    def __repr__(self) -> str:
        return short_repr(self)


class Translates(Steps):
    """The part of a model of pairs that translates.

    A family defines `encode`, `decode` and `checked_sources`, and `new_states`, `start` and `step`
    for what `Cached` does.

    Attributes
    ----------
    translating : Translating
        How it translates unless a call says otherwise.
    """

    head: OutputHead
    translating = Translating()

    def encode(self, source_ids: np.ndarray, source_lengths: np.ndarray) -> Encoded:
        """Read sources.

        Parameters
        ----------
        source_ids : ndarray of int, shape (batch, source)
            Padded at the end.
        source_lengths : ndarray of int, shape (batch,)
        """
        raise TypeError(f"{type(self).__name__} has no encode; a model must define it.")

    def decode(self, target_ids: np.ndarray, encoded: Encoded) -> np.ndarray:
        """Compute what the head reads, (batch, time) -> (batch, time, d_model).

        Parameters
        ----------
        target_ids : ndarray of int, shape (batch, time)
        encoded : Encoded
            What `encode` made.
        """
        raise TypeError(f"{type(self).__name__} has no decode; a model must define it.")

    def checked_sources(
        self, source_ids: Any, source_lengths: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sources and their lengths as arrays.

        Parameters
        ----------
        source_ids, source_lengths
            As for `encode`.

        Raises
        ------
        ValueError
            If they do not fit each other.
        """
        raise TypeError(f"{type(self).__name__} has no checked_sources; a model must define it.")

    def next_logits(self, target_ids: np.ndarray, encoded: Encoded) -> np.ndarray:
        """Compute the logits after the last position only, (batch, time) -> (batch, vocab_size).

        Parameters
        ----------
        target_ids : ndarray of int, shape (batch, time)
        encoded : Encoded
        """
        return self.head.forward(self.decode(target_ids, encoded)[:, -1])

    def decoder_of(
        self, encoded: Encoded, max_new_tokens: int, use_cache: bool = True
    ) -> StepByStep:
        """Make what reads beginnings of targets, then token after token.

        Parameters
        ----------
        encoded : Encoded
            Of the source of each row.
        max_new_tokens : int
        use_cache : bool
            Keep states; otherwise, or if not `reads_in_steps`, all of the target is computed again
            for each token, which gives the same logits.
        """
        if use_cache and self.reads_in_steps:
            return Cached(self, max_new_tokens, encoded)
        return EveryTime(lambda ids: self.next_logits(ids, encoded))

    def translate(
        self,
        sources: Any,
        *,
        start_id: int | None = None,
        end_id: int | None = None,
        forced_end_id: int | None = None,
        max_new_tokens: int | None = None,
        num_beams: int | None = None,
        length_penalty: float | None = None,
        penalty: str = "power",
        num_best: int = 1,
        alignments: bool = False,
        suppressed: Collection[int] | None = None,
        use_cache: bool = True,
    ) -> list[list[Translation]]:
        """Find the likeliest targets of sources, by beam search; with one beam, greedily.

        Sources of different lengths have no influence on each other: a batch gives what each would
        give alone.

        Parameters
        ----------
        sources : list of sequences of int
            Token ids, each at least one; or one such sequence.
        start_id, end_id, forced_end_id, max_new_tokens, num_beams, length_penalty, suppressed
            As of `Translating`; by default the model's own, ``model.translating``. A model that
            comes from no folder has no ids of its own.
        penalty : {"power", "gnmt"}
            Whether log-probabilities are divided by ``length ** length_penalty`` or by
            ``((5 + length) / 6) ** length_penalty``.
        num_best : int
            Targets that are returned of each source, at most ``num_beams``.
        alignments : bool
            Whether to return where the decoder looked, see `alignments`.
        use_cache : bool
            False computes the whole target again for each token.

        Returns
        -------
        list of list of Translation
            Of each source the best ones, best first.

        Raises
        ------
        ValueError
            If a source is empty, an argument out of range or not said by the model either, or the
            model has nothing to align.
        """
        prompts = prompts_of(sources)
        choices = self.translating.changed(
            {
                "start_id": start_id,
                "end_id": end_id,
                "forced_end_id": forced_end_id,
                "max_new_tokens": max_new_tokens,
                "num_beams": num_beams,
                "length_penalty": length_penalty,
                "suppressed": suppressed,
            }
        )
        if choices.start_id is None or choices.end_id is None:
            raise ValueError(
                "translate: start_id and end_id must be given, because the model does not say what "
                "a target begins and ends with."
            )
        if penalty not in LENGTH_PENALTIES:
            raise ValueError(
                f"translate: penalty must be one of {', '.join(LENGTH_PENALTIES)}, got {penalty!r}."
            )
        most = choices.max_new_tokens or min(MOST_NEW_TOKENS, self.context_length)
        if most > self.context_length:
            raise ValueError(
                f"translate: max_new_tokens must be at most {self.context_length}, as many "
                f"positions as the decoder has learned, got {most}."
            )
        ids, lengths = padded(prompts)
        with self.evaluating():
            encoded = self.encode(*self.checked_sources(ids, lengths)).repeated(choices.num_beams)
            found = search_beams(
                self.decoder_of(encoded, most, use_cache),
                [np.array([choices.start_id])] * len(prompts),
                most,
                choices.num_beams,
                LENGTH_PENALTIES[penalty](choices.length_penalty),
                Sampling(stop_id=choices.end_id, suppressed=choices.suppressed),
                num_best,
                choices.forced_end_id,
                choices.renormalize,
            )
            self.forget()
            translations = [[Translation(*best) for best in of_one] for of_one in found]
            if not alignments:
                return translations
            return [
                [self._aligned(source, best, choices.start_id) for best in of_one]
                for source, of_one in zip(prompts, translations, strict=True)
            ]

    def _aligned(self, source: np.ndarray, found: Translation, start_id: int) -> Translation:
        target_ids = np.concatenate([[start_id], found.token_ids[:-1]])
        lengths = np.array([len(source)])
        alignment = self.alignments(source[None], lengths, target_ids[None])[0]
        return found._replace(alignment=alignment)

    def alignment_taps(self) -> list[str]:
        """List the taps whose weights tell where the decoder looks; none without attention."""
        return []

    def alignments(self, source_ids, source_lengths, target_ids) -> np.ndarray:
        """Compute where the decoder looks as it predicts what follows each target token.

        Parameters
        ----------
        source_ids, source_lengths, target_ids
            As of `PairBatch`.

        Returns
        -------
        ndarray, shape (batch, time, source)
            The attention weights, averaged over heads; each row sums to 1, and is 0 at padding. Of
            a Transformer those of the last block.

        Raises
        ------
        ValueError
            If the model does not look at single positions of the source.
        """
        taps = self.alignment_taps()
        if not taps:
            raise ValueError(
                f"{type(self).__name__}: its decoder sees one vector of the whole source, so there "
                "is nothing to align; a model with attention has alignments."
            )
        with self.evaluating(), _Heard(self, taps) as heard:
            sources = self.checked_sources(source_ids, source_lengths)
            self.decode(np.asarray(target_ids), self.encode(*sources))
        self.forget()
        weights = np.concatenate([w if w.ndim == 4 else w[:, None] for w in heard.arrays], axis=1)
        return weights.mean(axis=1)


class _Heard(Listening):
    """Keeps the arrays of some taps in the order of the forward pass."""

    def __init__(self, model: Layer, names: Sequence[str]):
        super().__init__(model)
        self.names = names
        self.arrays: list[np.ndarray] = []

    def wants(self, name: str) -> bool:
        """Tell whether the array of this name is kept."""
        return name in self.names

    def on_activation(self, name: str, array: np.ndarray) -> np.ndarray:
        """Keep an activation.

        Parameters
        ----------
        name, array
            As for `npgpt.layers.core.taps.Listener.on_activation`.
        """
        self.arrays.append(array)
        return array


def padded(sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Put sequences of ids into one array, padded at the end with 0; return it and their lengths.

    Parameters
    ----------
    sequences : sequence of ndarray of int, each (time,)
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    ids = np.zeros((len(sequences), lengths.max()), np.int64)
    for row, sequence in zip(ids, sequences, strict=True):
        row[: len(sequence)] = sequence
    return ids, lengths
