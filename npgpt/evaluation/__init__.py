"""How good a model is: its loss on held-out text, and questions with examples in the prompt."""

from npgpt.evaluation.few_shot import FewShotResult, chance, evaluate_few_shot
from npgpt.evaluation.loss import Evaluation, Interrupted, evaluate

__all__ = ["Evaluation", "FewShotResult", "Interrupted", "chance", "evaluate", "evaluate_few_shot"]
