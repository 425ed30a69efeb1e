"""The gradient laboratory: prove a backward pass, and look inside it."""

from npgpt.gradients.gradcheck import gradcheck
from npgpt.gradients.report import ArrayCheck, GradcheckError, GradcheckReport
from npgpt.gradients.suite import SUITE, check_suite

__all__ = [
    "SUITE",
    "ArrayCheck",
    "GradcheckError",
    "GradcheckReport",
    "check_suite",
    "gradcheck",
]
