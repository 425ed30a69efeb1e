"""Direct preference optimisation of a GPT."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npgpt import ops
from npgpt.fields import short_repr
from npgpt.layers import OutputHead, flatten_trained
from npgpt.layers.core.layer import does_as
from npgpt.models.gpt import GPT
from npgpt.models.model import num_filled
from npgpt.models.objectives.objective import Objective


class PairBatch(NamedTuple):
    """Token ids and targets, (2 pairs, time), and the reference's log-probabilities, (2 pairs,)."""

    token_ids: np.ndarray
    targets: np.ndarray
    reference: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


class Likelihoods(NamedTuple):
    """What `GPTForPreference` keeps; the margin is there after `GPTForPreference.loss` only."""

    x: np.ndarray
    targets: np.ndarray
    margin: np.ndarray | None = None

    def __repr__(self) -> str:
        return short_repr(self)


class GPTForPreference(Objective):
    """A GPT trained to prefer one response to another: DPO.

    (Rafailov et al. 2023, arXiv 2305.18290.)

    With ``r = beta (log p(response) - log p_reference(response))`` the loss of a pair is
    ``-log sigmoid(r_chosen - r_rejected)`` (eq. 7); a response's log-probability is the sum over
    its tokens.

    Parameters
    ----------
    policy : GPT
        Becomes a part of the model.
    beta : float
        How much leaving the reference costs; positive.

    Raises
    ------
    ValueError
        If ``beta`` is not positive.

    Notes
    -----
    A batch has two rows a pair, all chosen responses before all rejected ones. The reference's
    log-probabilities do not change in training, so they are computed once, by
    `log_probabilities` before the first step, and are a part of the batch.
    """

    Batch = PairBatch

    def __init__(self, policy: GPT, beta: float = 0.1):
        super().__init__()
        if not beta > 0.0:
            raise ValueError(f"GPTForPreference: beta must be positive, got {beta}.")
        self.policy, self.config, self.beta = policy, policy.config, beta
        self.assign_names()
        flatten_trained(self)

    @property
    def body(self) -> GPT:
        """The GPT, as of any objective; papers call it the policy, and so files name its parts."""
        return self.policy

    @body.setter
    def body(self, gpt: GPT) -> None:
        self.policy = gpt

    def log_probabilities(self, token_ids, targets) -> np.ndarray:
        """Compute ``log p(response)`` of each row.

        Parameters
        ----------
        token_ids, targets : ndarray of int, shape (rows, time)
            Targets are -100 but at the tokens of the response.

        Returns
        -------
        ndarray, shape (rows,)
        """
        if not does_as(self.policy.head, OutputHead) or self.policy.head.bias is not None:
            raise TypeError(
                "GPTForPreference: the policy's head must be an OutputHead without a bias, whose "
                "logits never exist all at once, and this one is a "
                f"{type(self.policy.head).__name__}."
            )
        x = self.policy.hidden_states(token_ids)  # (rows, time, d_model)
        log_p = ops.head_log_probs_forward(x, self.policy.head.weight.value, targets)
        self.keep(Likelihoods(x, targets))
        return log_p.sum(axis=-1)

    def forward(self, token_ids, targets, reference) -> np.ndarray:
        """Compute the reward margin ``r_chosen - r_rejected`` of each pair.

        Parameters
        ----------
        token_ids, targets : ndarray of int, shape (2 pairs, time)
        reference : ndarray, shape (2 pairs,)
            The log-probabilities of the reference model.

        Returns
        -------
        ndarray, shape (pairs,)
        """
        token_ids, targets = np.asarray(token_ids), np.asarray(targets)
        if len(token_ids) % 2 or targets.shape != token_ids.shape:
            raise ValueError(
                "GPTForPreference: expected two rows a pair and targets like token ids, got shapes "
                f"{token_ids.shape} and {targets.shape}."
            )
        log_p = self.log_probabilities(token_ids, targets)
        chosen, rejected = np.split(self.rewards(log_p, reference), 2)
        return chosen - rejected

    def rewards(self, log_p: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Compute ``beta (log p(response) - log p_reference(response))`` of each row."""
        return log_p.real.dtype.type(self.beta) * (log_p - reference.astype(log_p.dtype))

    def loss(self, token_ids, targets, reference) -> np.floating:
        """Compute the mean of ``-log sigmoid(margin)`` over pairs; `backward` may follow."""
        margin = self.forward(token_ids, targets, reference)
        self.keep(self.recall()._replace(margin=margin))
        return ops.preference_loss_forward(margin)

    def backward(self, dloss: float = 1.0) -> None:
        """Add the gradient of `loss`, times ``dloss``, to every trained parameter's ``.grad``."""
        x, targets, margin = self.recall()
        if margin is None:
            raise RuntimeError("GPTForPreference: backward needs a call of loss before it.")
        dmargin = ops.preference_loss_backward(dloss, margin)
        dlog_p = margin.real.dtype.type(self.beta) * np.concatenate([dmargin, -dmargin])
        dlog_p = np.broadcast_to(dlog_p[:, None], targets.shape)  # through the sum over tokens
        weight = self.policy.head.weight
        dweight, overwrite = weight.grad_to_fill()
        dx = ops.head_log_probs_backward(
            dlog_p, x, weight.value, targets, dweight=dweight, overwrite=overwrite
        )
        self.policy.backward_from_hidden(dx)

    def num_targets(self, token_ids, targets, reference) -> int:
        """Count the pairs."""
        return len(token_ids) // 2

    def num_tokens(self, token_ids, targets, reference) -> int:
        """Count the tokens of prompts and responses, each prompt twice."""
        return num_filled(targets)
