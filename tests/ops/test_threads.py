"""One number for the threads of Numba and of BLAS."""

import os
import subprocess
import sys

import pytest

import npgpt

STEP = """
import hashlib
import numpy as np
import npgpt
config = npgpt.GPTConfig(97, 40, n_layers=2, n_heads=3, d_model=48, dropout=0.2)
model = npgpt.GPT(config, seed=1)
ids = np.random.default_rng(0).integers(0, 97, (5, 41))
model.loss_and_backward(ids[:, :-1], ids[:, 1:])
import numba
digest = hashlib.sha256(b"".join(p.grad.tobytes() for p in model.parameters())).hexdigest()
print(numba.threading_layer(), digest)
"""


def python(code, **environment):
    variables = {k: v for k, v in os.environ.items() if k != "NPGPT_NUM_THREADS"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**variables, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_set_num_threads_sets_numba_and_blas_together():
    import numba
    import threadpoolctl

    before = npgpt.get_num_threads()
    try:
        npgpt.set_num_threads(1)
        assert numba.get_num_threads() == 1
        blas = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        assert all(pool["num_threads"] == 1 for pool in blas)
    finally:
        npgpt.set_num_threads(before)
    assert npgpt.get_num_threads() == before


@pytest.mark.parametrize("number", [0, -1, 10_000])
def test_a_number_out_of_range_is_refused(number):
    with pytest.raises(ValueError, match=f"must be from 1 to .* got {number}; .*NPGPT_NUM_THREADS"):
        npgpt.set_num_threads(number)


@pytest.mark.parametrize("number", [1, 5])
def test_the_environment_says_how_many_threads_work(number):
    code = (
        "import npgpt, threadpoolctl, numpy; n = npgpt.get_num_threads();"
        "print(n, {p['num_threads'] for p in threadpoolctl.threadpool_info()"
        " if p['user_api'] == 'blas' and 'numpy' in p['filepath']} <= {n})"
    )
    result = python(code, NPGPT_NUM_THREADS=str(number))
    assert result.stdout.split() == [str(number), "True"], result.stderr


def test_the_environment_must_hold_a_number():
    code = "import npgpt, numpy; npgpt.ops.gelu_tanh_forward(numpy.ones(3, 'f'))"
    result = python(code, NPGPT_NUM_THREADS="many")
    assert "NPGPT_NUM_THREADS must be a positive whole number, got 'many'" in result.stderr


def test_gradients_do_not_depend_on_the_threading_layer():
    digests = {}
    for layer in ("omp", "workqueue", "tbb"):
        result = python(STEP, NUMBA_THREADING_LAYER=layer)
        if result.returncode and layer != "workqueue":  # comes with every Numba
            assert "No threading layer could be loaded" in result.stderr, result.stderr
            continue
        used, digest = result.stdout.split()
        assert used == layer
        digests[layer] = digest
    assert len(set(digests.values())) == 1, digests
