"""Settings for the whole suite."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # a process a processor, so that one thread each is enough
    os.environ.setdefault("NPGPT_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from npgpt import ops
from npgpt.ops.jit_state import jit_is_off

# No deadline: a first call may compile a kernel. In CI the same examples are drawn every time.
settings.register_profile(
    "npgpt",
    deadline=None,
    max_examples=25,
    print_blob=True,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("npgpt")


@pytest.fixture(params=ops.BACKENDS)
def backend(request):
    """Run a test once with each backend."""
    if request.param == "compiled" and jit_is_off():
        pytest.skip("Numba does not compile")
    with ops.use(request.param):
        yield request.param


@pytest.fixture
def reference_backend():
    """Run a test with the reference operations."""
    with ops.use("reference"):
        yield
