"""Golden numbers: what a few small models compute, as values and as digests of their bits.

Values say what is right everywhere, within a tolerance. Digests say that not one bit has changed,
and hold only where processor and libraries are those that made them.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import platform
import re
from pathlib import Path

import llvmlite
import llvmlite.binding
import numba
import numpy as np
import threadpoolctl
from safetensors.numpy import load_file

from npgpt import GPT, GPTConfig, ops
from npgpt.optim import AdamW
from npgpt.training import train_step

GOLDEN = Path(__file__).parent / "golden"
DIGESTS = Path(__file__).parent / "digests.json"
PARAMETERS = Path(__file__).parent / "parameters.json"
STEPS = 50
DROPOUTS, DTYPES = (0.0, 0.1), ("float64", "float32")


def _config(**changes):
    shape = {"vocab_size": 13, "context_length": 8, "n_layers": 2, "n_heads": 2, "d_model": 8}
    return GPTConfig(**{**shape, "d_ff": 16, **changes})


LLAMA = {"position": "rope", "norm": "rms", "activation": "swiglu", "bias": False}
CONFIGS = {
    "gpt2": _config(d_ff=None),
    "untied": _config(tie_embeddings=False, bias=False, layer_norm_eps=1e-3),
    "narrow": _config(vocab_size=5, n_layers=3, n_heads=1, d_model=6, d_ff=7),
    "llama": _config(**LLAMA, n_heads=4, n_kv_heads=2, tie_embeddings=False, d_ff=None),
    "qwen": _config(**LLAMA, n_kv_heads=1, qkv_bias=True, rope_theta=500.0),
    "t5": _config(
        position="t5", norm="rms", activation="relu", bias=False, scale_scores=False,
        relative_attention_num_buckets=4, relative_attention_max_distance=6,
    ),
    "t5 window": _config(position="t5", window=3, n_kv_heads=1),
    "alibi": _config(position="alibi", window=3),
    "alibi groups": _config(position="alibi", n_heads=4, n_kv_heads=2, norm="rms"),
    "original": _config(position="sinusoidal", norm_position="post", activation="relu"),
    "post": _config(norm_position="post", activation="gelu_exact", tie_embeddings=False),
    "bare": _config(position="none", norm="none", shortcut=False, qkv_bias=False),
    "rope window": _config(position="rope", window=4, activation="gelu_exact"),
    "recompute": _config(activation="swiglu"),
}  # fmt: skip


CASES = [*itertools.product(CONFIGS, DROPOUTS, DTYPES, ops.BACKENDS)]


def case_name(name, dropout, dtype, backend):
    """Name a case."""
    return f"{name}, dropout {dropout}, {dtype}, {backend}"


def model_of(name, dropout=0.0, dtype="float64"):
    """Make a model in which no parameter is where it starts."""
    config = dataclasses.replace(CONFIGS[name], dropout=dropout)
    model = GPT(config, seed=7, dtype=np.dtype(dtype), recompute=name == "recompute")
    rng = np.random.default_rng(11)
    for parameter in model.parameters():
        parameter.value += (0.2 * rng.standard_normal(parameter.shape)).astype(dtype)
    return model


def batch_of(config, step=0):
    """Draw inputs and targets, with ignored targets; every other batch has a shorter time."""
    rng = np.random.default_rng(step)
    shape = (3, config.context_length - 2 * (step % 2))
    inputs, targets = rng.integers(0, config.vocab_size, (2, *shape))
    targets[0, -2:] = -100
    return inputs, targets


def names_and_shapes(model):
    """List the parameters in the model's order."""
    return [[name, list(parameter.shape)] for name, parameter in model.named_parameters()]


def gradients(model):
    """Copy the gradient of every parameter."""
    return {name: parameter.grad.copy() for name, parameter in model.named_parameters()}


@functools.cache
def measured(name, dropout, dtype, backend):
    """Compute all numbers of a model: by part, arrays by name."""
    before = ops.get_num_threads()
    ops.set_num_threads(1)  # threads share out sums
    try:
        with ops.use(backend):
            return measure(lambda: model_of(name, dropout, dtype))
    finally:
        ops.set_num_threads(before)


def measure(make):
    """Compute all numbers of the models that ``make()`` returns, always the same one."""
    config = make().config
    batch = batch_of(config)
    parts = {"logits": {"logits": make().forward(batch[0])}}
    model = make()
    parts["loss"] = {"loss": np.asarray(model.loss(*batch))}
    model.backward()
    parts["gradients"] = gradients(model)
    model = make()  # anew, so that dropout draws the same again
    parts["fused loss"] = {"loss": np.asarray(model.loss_and_backward(*batch))}
    parts["fused gradients"] = gradients(model)
    model = make()
    # with the usual eps of 1e-8, rounding alone would decide the biases of keys, whose gradient is 0
    optimizer = AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.99), eps=1e-3, weight_decay=0.1)
    losses = []
    for step in range(STEPS):
        batches = [batch_of(config, step + 1 + i) for i in range(1 + (step % 5 == 0))]
        losses.append(train_step(model, optimizer, batches, clip_norm=1.0))
    parts["training"] = {"losses and norms": np.array(losses)}
    parts["trained"] = {name: array.copy() for name, array in model.state_dict().items()}
    parts["evaluation"] = {"loss": np.asarray(model.eval().evaluation_loss(*batch))}
    return parts


def stored_values(name, dropout):
    """Read the numbers of a model, as `measure` returned them in float64 with the reference."""
    prefix, parts = f"{dropout}/", {}
    for key, array in load_file(GOLDEN / f"{file_name(name)}.safetensors").items():
        if key.startswith(prefix):
            part, _, array_name = key.removeprefix(prefix).partition("/")
            parts.setdefault(part, {})[array_name] = array
    # the fused form computes the same
    return parts | {f"fused {part}": parts[part] for part in ("loss", "gradients")}


def file_name(name):
    """Turn a model's name into that of its file."""
    return name.replace(" ", "_")


def check_values(found, stored, tolerance):
    """Compare parts, each relative to its largest number.

    Raises an AssertionError if a name, a shape or a number differs.
    """
    assert set(found) == set(stored)
    for part, arrays in found.items():
        assert set(arrays) == set(stored[part]), part
        scale = max(np.abs(array).max() for array in stored[part].values())
        for name, array in arrays.items():
            close(array, stored[part][name], tolerance, f"{part}: {name}", scale)


def close(found, stored, tolerance, what="", scale=None):
    """Compare arrays (or numbers), relative to a scale, or else to the largest stored number."""
    found, stored = np.asarray(found, np.float64), np.asarray(stored, np.float64)
    assert found.shape == stored.shape, what
    scale = np.abs(stored).max() if scale is None else scale
    np.testing.assert_allclose(found, stored, rtol=0, atol=tolerance * scale, err_msg=what)


def digest(arrays):
    """Return the SHA-256 of arrays: of their names, dtypes, shapes and bits."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        sha.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


@functools.cache
def key():
    """Name what decides the bits: the processor, and the libraries with the kernels they choose."""
    ops.get_num_threads()
    blas = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    blas.sort(key=lambda pool: "numpy" not in pool["filepath"])  # SciPy may have brought another
    cpu = ""
    if Path("/proc/cpuinfo").exists():
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        found = dict(re.findall(r"^(cpu family|model|stepping)\s*: (\d+)$", text, re.MULTILINE))
        cpu = " ".join(f"{name} {number}" for name, number in found.items())
    features = numba.config.CPU_FEATURES or llvmlite.binding.get_host_cpu_features().flatten()
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    seen = hashlib.sha256(json.dumps([features, simd], sort_keys=True).encode()).hexdigest()
    parts = [
        platform.machine(),
        cpu,
        numba.config.CPU_NAME or llvmlite.binding.get_host_cpu_name(),
        f"features {seen[:12]}",
        *(f"{b['internal_api']} {b['version']} {b.get('architecture')}" for b in blas[:1]),
        f"numpy {np.__version__}",
        f"numba {numba.__version__}",
        f"llvmlite {llvmlite.__version__}",
        f"Python {'.'.join(platform.python_version_tuple()[:2])}",
        " ".join(platform.libc_ver()),
    ]
    return ", ".join(filter(None, parts))


def why_no_bits():
    """Say why bits are not compared."""
    if not os.environ.get("NPGPT_STORED_BITS"):
        return "bits are compared with NPGPT_STORED_BITS=1, from the cache; values were compared"
    return f"no bits are stored for {key()}; values were compared"


def stored_digests():
    """Read the digests of this processor; None if there are none, or if bits are not asked for.

    A process that compiles kernels may round differently from one that finds them in the cache, so
    bits are compared where nothing is compiled: ``NPGPT_STORED_BITS=1 pytest tests/stored``, once
    the suite has filled the cache. `.ci/run` does it.
    """
    if not os.environ.get("NPGPT_STORED_BITS"):
        return None
    return json.loads(DIGESTS.read_text(encoding="utf-8")).get(key())
