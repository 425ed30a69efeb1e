"""The gradient laboratory: prove a backward pass, and look inside it."""

from npgpt.gradients.attribution import (
    direct_logit_attribution,
    gradient_times_input,
    integrated_gradients,
)
from npgpt.gradients.curvature import (
    GaussNewton,
    Hessian,
    flat_weights,
    loss_along,
    set_flat_weights,
)
from npgpt.gradients.flow import ActivationFlow, Flow, ParameterFlow
from npgpt.gradients.flow_meter import FlowMeter, gradient_flow
from npgpt.gradients.gradcheck import gradcheck
from npgpt.gradients.noise import (
    GradientMoments,
    GradientNoise,
    gradient_moments,
    gradient_noise_scale,
)
from npgpt.gradients.per_example import PerExampleNorms, per_example_gradient_norms
from npgpt.gradients.record import Recorded, Tape, record
from npgpt.gradients.report import ArrayCheck, GradcheckError, GradcheckReport
from npgpt.gradients.suite import SUITE, check_suite
from npgpt.gradients.tap_shapes import tap_shapes

__all__ = [
    "SUITE",
    "ActivationFlow",
    "ArrayCheck",
    "Flow",
    "FlowMeter",
    "GaussNewton",
    "GradcheckError",
    "GradcheckReport",
    "GradientMoments",
    "GradientNoise",
    "Hessian",
    "ParameterFlow",
    "PerExampleNorms",
    "Recorded",
    "Tape",
    "check_suite",
    "direct_logit_attribution",
    "flat_weights",
    "gradcheck",
    "gradient_flow",
    "gradient_moments",
    "gradient_noise_scale",
    "gradient_times_input",
    "integrated_gradients",
    "loss_along",
    "per_example_gradient_norms",
    "record",
    "set_flat_weights",
    "tap_shapes",
]
