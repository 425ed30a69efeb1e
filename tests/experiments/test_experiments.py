"""The experiments show what they say, at a small size."""

import math

import pytest

from npgpt.experiments import (
    compare_positions,
    plot_positions,
    plot_vanishing_gradients,
    vanishing_gradients,
)
from npgpt.runs import TrainingConfig
from tests.runs.tiny_run import TEXT

PNG = b"\x89PNG"


def test_gradients_vanish_with_depth_without_shortcut_and_norm_alone(tmp_path):
    done = []
    results = vanishing_gradients((2, 12), d_model=32, on_model=lambda *counts: done.append(counts))
    assert done[-1] == (8, 8)
    ratios = {(r.variant, r.n_layers): r.ratio for r in results}
    assert ratios["neither", 12] < 1e-3 < 0.05 < ratios["neither", 2]
    for variant in ("shortcut and norm", "shortcut alone", "norm alone"):
        assert 0.1 < ratios[variant, 12] < 100, variant
    assert all(len(r.grad_norms) == r.n_layers for r in results)
    plot_vanishing_gradients(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)


def test_gradients_explode_with_a_large_gain_until_they_overflow():
    small, large = (vanishing_gradients((4, 48), gain, d_model=16) for gain in (1.0, 4.0))
    first = {r.n_layers: r.grad_norms[0] for r in small if r.variant == "shortcut alone"}
    assert first[48] > 1e3 * first[4]
    assert any(math.isnan(r.ratio) for r in large)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(((),), "depths must be at least 1"), (((0,),), "at least 1"), (((2,), 0.0), "gain must be")],
)
def test_depths_and_gains_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        vanishing_gradients(*arguments)


def test_positions_are_trained_short_and_evaluated_long(tmp_path):
    (tmp_path / "text.txt").write_text(3 * TEXT, encoding="utf-8")
    config = TrainingConfig(
        corpus=str(tmp_path / "text.txt"), tokenizer="char", context_length=8, n_layers=1, n_heads=2,
        d_model=16, steps=40, batch_size=8, lr=1e-2,
    )  # fmt: skip
    results = compare_positions(config, 32, ("learned", "alibi", "rope"))
    assert [r.position for r in results] == ["learned", "alibi", "rope"]
    learned, *relative = results
    assert learned.longer is None
    assert len(learned.by_place) == 8
    for result in relative:
        assert len(result.by_place) == 32
        assert result.longer == pytest.approx(sum(result.by_place) / 32)
    for result in results:
        assert result.trained_length < math.log(20)
        assert result.sliding == pytest.approx(result.trained_length, abs=0.5)
    plot_positions(results, 8, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)
    with pytest.raises(ValueError, match="must be longer than the 8"):
        compare_positions(config, 8)
