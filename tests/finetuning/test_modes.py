"""What turns dropout off for a while gives the mode back, also where it fails."""

import numpy as np
import pytest

from npgpt import GPT, GPTConfig
from npgpt.data.sequences import LabelledTexts, PreferencePairs, Responses
from npgpt.evaluation import Interrupted, evaluate
from npgpt.finetuning import predict
from npgpt.finetuning.preferences import score_preferences, with_reference
from npgpt.models import GPTForClassification, GPTForPreference

CONFIG = GPTConfig(11, 8, n_layers=1, n_heads=1, d_model=4, dropout=0.5)
IDS = np.array([1, 2, 3])


class Broken(LabelledTexts, PreferencePairs):
    """Examples that cannot be read."""

    def __init__(self):
        side = Responses([IDS, IDS], [1, 1])
        PreferencePairs.__init__(self, side, side)
        LabelledTexts.__init__(self, [IDS, IDS], [0, 1])

    def __len__(self):
        return 2

    def batch(self, indices):
        """Fail."""
        raise ZeroDivisionError


def stopped(model):
    evaluate(model, [(IDS[None], IDS[None])], should_stop=lambda: True)


CASES = {
    "evaluate": (GPT, stopped, Interrupted),
    "generate": (GPT, lambda model: model.generate([99], 2), ValueError),
    "generate from the whole": (
        GPT, lambda model: model.generate([99], 2, use_cache=False), ValueError,
    ),
    "beam search": (GPT, lambda model: model.beam_search([99], 2), ValueError),
    "log-likelihood": (GPT, lambda model: model.log_likelihood([1], [99]), ValueError),
    "predict": (
        lambda config: GPTForClassification(GPT(config), 2),
        lambda model: predict(model, Broken()),
        ZeroDivisionError,
    ),
    **{
        function.__name__: (
            lambda config: GPTForPreference(GPT(config)),
            lambda model, function=function: function(model, Broken()),
            ZeroDivisionError,
        )
        for function in (with_reference, score_preferences)
    },
}  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_failure_leaves_the_mode_as_it_was(name, training):
    make, use, error = CASES[name]
    model = make(CONFIG).train(training)
    with pytest.raises(error):
        use(model)
    assert all(layer.training is training for layer in model.layers())
