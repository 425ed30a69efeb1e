"""Every choice of a Transformer block, once."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

from npgpt.fields import Settings, check_options, option
from npgpt.layers.activations import ACTIVATIONS, default_d_ff
from npgpt.layers.core.init import INITIAL_STD
from npgpt.layers.norms import NORMS

POSITIONS = ("learned", "sinusoidal", "t5", "alibi", "rope", "none")
NORM_POSITIONS = ("pre", "post")  # before a branch, or after its sum with the shortcut

MODEL, ARCHITECTURE = "Model", "Architecture"  # panels of the command line's help


@dataclasses.dataclass(frozen=True)
class BlockConfig(Settings):
    """Shape and choices of Transformer blocks, which attention and feed-forward layers read too.

    A config of blocks that read both ways sets the class attribute ``causal`` to False.

    Parameters
    ----------
    n_layers : int
        Number of blocks.
    n_heads : int
        Attention heads of a block; their number divides d_model.
    d_model : int
        Width of the residual stream; a multiple of the heads.
    d_ff : int, optional
        Width of the feed-forward layers; a gated one's is rounded up to a multiple of 8.
    dropout : float
        Probability, for embeddings, attention weights and both branches of a block.
    bias : bool
        Biases of linear maps and layer norms.
    position : {"learned", "sinusoidal", "t5", "alibi", "rope", "none"}
        How positions enter: a learned or sinusoidal row added to the embedding; a bias of the
        scores by distance, learned (t5) or fixed (alibi); queries and keys that turn with the
        position (rope); or not at all. Only learned rows end with the context.
    layer_norm_eps : float
        Added to the variance by the norms, whichever they are.
    norm : {"layer", "rms", "none"}
        Norm of the blocks.
    norm_position : {"pre", "post"}
        pre: before each branch, and one more at the end of the model; post: after each shortcut.
    activation : {"gelu", "gelu_exact", "relu", "silu", "swiglu"}
        Of the feed-forward layers.
    shortcut : bool
        Add what a branch reads to its output.
    n_kv_heads : int, optional
        Heads of keys and values, each shared by a group of query heads.
    window : int, optional
        Positions that a query sees, itself and those before it.
    qkv_bias : bool, optional
        Biases of queries, keys and values.
    scale_scores : bool
        Divide attention scores by the square root of the head size.
    rope_theta : float
        Base of rotary positions' wavelengths, of which the longest is about 2 pi times as long.
    relative_attention_num_buckets : int
        Buckets of distances of the position t5.
    relative_attention_max_distance : int
        From here on all distances share t5's last bucket.

    Raises
    ------
    ValueError
        If a value is out of range, or choices do not fit each other; the message holds the rule.

    Examples
    --------
    A block of Llama:

    >>> config = BlockConfig(
    ...     n_layers=22, n_heads=32, d_model=2048, d_ff=5632, bias=False, n_kv_heads=4,
    ...     position="rope", norm="rms", activation="swiglu",
    ... )
    >>> config.head_size
    64
    """

    causal: ClassVar[bool] = True

    n_layers: int = option(MODEL, names=("--n-layers", "--layers"), minimum=1)
    n_heads: int = option(MODEL, names=("--n-heads", "--heads"), minimum=1)
    d_model: int = option(MODEL, minimum=1)
    d_ff: int | None = option(
        ARCHITECTURE, default=None, minimum=1, shown_default="4 d_model; swiglu 8/3 d_model"
    )
    dropout: float = option(MODEL, default=0.0)
    bias: bool = option(MODEL, default=True)
    _: dataclasses.KW_ONLY
    position: str = option(ARCHITECTURE, default="learned", choices=POSITIONS)
    layer_norm_eps: float = option(ARCHITECTURE, default=1e-05)
    norm: str = option(ARCHITECTURE, default="layer", choices=NORMS)
    norm_position: str = option(ARCHITECTURE, default="pre", choices=NORM_POSITIONS)
    activation: str = option(ARCHITECTURE, default="gelu", choices=ACTIVATIONS)
    shortcut: bool = option(ARCHITECTURE, default=True)
    n_kv_heads: int | None = option(
        ARCHITECTURE,
        default=None,
        names=("--n-kv-heads", "--kv-heads"),
        minimum=1,
        shown_default="the heads",
    )
    window: int | None = option(
        ARCHITECTURE, default=None, minimum=1, shown_default="all of the past"
    )
    qkv_bias: bool | None = option(ARCHITECTURE, default=None, shown_default="as --bias")
    scale_scores: bool = option(ARCHITECTURE, default=True)
    rope_theta: float = option(ARCHITECTURE, default=10000.0)
    relative_attention_num_buckets: int = option(ARCHITECTURE, default=32, minimum=1)
    relative_attention_max_distance: int = option(ARCHITECTURE, default=128, minimum=1)

    def __post_init__(self) -> None:
        if self.norm == "batch":
            raise self._refused(
                "norm must not be 'batch': its statistics are taken over positions too, so a "
                f"position would see the future; choose one of {', '.join(NORMS)}."
            )
        check_options(self, type(self).__name__)
        self._check_heads()
        if not 0.0 <= self.dropout < 1.0:
            raise self._refused(f"dropout must be at least 0 and below 1, got {self.dropout}.")
        for name in ("layer_norm_eps", "rope_theta"):
            if not getattr(self, name) > 0.0:
                raise self._refused(f"{name} must be positive, got {getattr(self, name)}.")
        buckets = self.relative_attention_num_buckets
        distance = self.relative_attention_max_distance
        if buckets < 2:
            raise self._refused(
                f"relative_attention_num_buckets must be at least 2, got {buckets}."
            )
        if distance <= buckets // 2:
            raise self._refused(
                "relative_attention_max_distance must be above half of "
                f"relative_attention_num_buckets, got {distance} and {buckets}."
            )

    def _check_heads(self) -> None:
        if self.d_model % self.n_heads:
            raise self._refused(
                f"n_heads must divide d_model, got d_model {self.d_model} and n_heads "
                f"{self.n_heads}."
            )
        if self.num_kv_heads > self.n_heads:
            raise self._refused(
                "there must not be more key and value heads than query heads, got n_kv_heads "
                f"{self.n_kv_heads} and n_heads {self.n_heads}."
            )
        if self.n_heads % self.num_kv_heads:
            raise self._refused(
                f"n_kv_heads must divide n_heads, got n_kv_heads {self.n_kv_heads} and n_heads "
                f"{self.n_heads}."
            )
        if self.position == "rope" and self.head_size % 2:
            raise self._refused(
                "position 'rope' turns features in pairs, so the head size must be even, got "
                f"d_model {self.d_model} / n_heads {self.n_heads} = {self.head_size}."
            )

    def _refused(self, rule: str) -> ValueError:
        return ValueError(f"{type(self).__name__}: {rule}")

    @property
    def head_size(self) -> int:
        """Features of one head: ``d_model / n_heads``."""
        return self.d_model // self.n_heads

    @property
    def num_kv_heads(self) -> int:
        """``n_kv_heads``, or what stands for it when it is None."""
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads

    @property
    def feed_forward_size(self) -> int:
        """``d_ff``, or what stands for it when it is None."""
        return self.d_ff or default_d_ff(self.d_model, self.activation)

    @property
    def final_norm(self) -> str:
        """Which norm stands behind the blocks: post-norm blocks end with one already."""
        return self.norm if self.norm_position == "pre" else "none"

    @property
    def initial_std(self) -> float:
        """Standard deviation of the start of the other maps: GPT-2's 0.02."""
        return INITIAL_STD

    @property
    def projection_std(self) -> float:
        """Standard deviation of the start of the maps that write to the residual stream.

        ``initial_std / sqrt(2 n_layers)``, because 2 n_layers branches add up in it (Radford et al.
        2019, section 2.3).
        """
        return self.initial_std / math.sqrt(2 * self.n_layers)


def check_config(config: Any, who: Any, kind: type = BlockConfig) -> None:
    """Raise TypeError if what a layer is made from is not a config of its kind.

    Parameters
    ----------
    config : object
    who : object
        The layer that is made, for the error.
    kind : type
        `BlockConfig`, or a class made from it.
    """
    if not isinstance(config, kind):
        raise TypeError(
            f"{type(who).__name__}: expected a {kind.__name__}, got {config!r}; it is made by "
            f"{kind.__name__}(...)."
        )
