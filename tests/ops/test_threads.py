"""One number for the threads of Numba and of BLAS."""

import os
import subprocess
import sys

import pytest

import npgpt
from npgpt.ops import threads

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
    ours = ("NPGPT_", "NUMBA_", "OMP_", "OPENBLAS_")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
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


@pytest.mark.slow
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


# --- what the process was given ------------------------------------------------------------------

COUNT = """
import numpy, npgpt, threadpoolctl
npgpt.ops.relu_forward(numpy.ones((2, 2), "f"))
pools = {p["num_threads"] for p in threadpoolctl.threadpool_info()
         if p["user_api"] == "blas" and "numpy" in p["filepath"]}
print(npgpt.get_num_threads(), *pools)
"""
ON_ONE = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
HAS_AFFINITY = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")


@HAS_AFFINITY
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.slow
def test_the_environment_counts_also_with_fewer_processors(number):
    result = python(ON_ONE + COUNT, NPGPT_NUM_THREADS=str(number))
    assert result.stdout.split()[0] == str(number), result.stderr


@HAS_AFFINITY
def test_without_a_number_as_many_threads_work_as_the_affinity_allows():
    assert python(ON_ONE + COUNT).stdout.split() == ["1", "1"]


@pytest.mark.slow
def test_without_a_number_a_containers_quota_counts(tmp_path):
    fake = "import npgpt.ops.threads as t; t.affinity = lambda: 4; t.available_processors = lambda: 1\n"
    assert python(fake + COUNT).stdout.split() == ["1", "1"]
    assert python(fake + COUNT, NUMBA_NUM_THREADS="3").stdout.split() == ["3", "1"]
    assert python("import numba\n" + fake + COUNT, NUMBA_NUM_THREADS="2").stdout.split()[0] == "2"
    chosen = python(fake + COUNT, NPGPT_NUM_THREADS="2")
    assert chosen.stdout.split()[0] == "2", chosen.stderr
    blas = python(fake + COUNT, OPENBLAS_NUM_THREADS="2", OMP_NUM_THREADS="2").stdout.split()
    assert blas[0] == "1"


def test_numbas_own_variable_does_not_refuse_ours():
    result = python(COUNT, NPGPT_NUM_THREADS="3", NUMBA_NUM_THREADS="1")
    assert result.stdout.split()[0] == "3", result.stderr


def test_numba_that_came_first_with_fewer_threads_is_named():
    result = python("import numba\n" + COUNT, NPGPT_NUM_THREADS="3", NUMBA_NUM_THREADS="1")
    assert "NPGPT_NUM_THREADS is 3, but Numba was imported before" in result.stderr
    assert "set NUMBA_NUM_THREADS to 3" in result.stderr


@pytest.mark.parametrize("text", ["0", "abc", "-1", "1e3", "2.0", "²", "4097", "9" * 5000])
def test_what_is_no_number_of_threads_is_told(monkeypatch, text):
    monkeypatch.setenv("NPGPT_NUM_THREADS", text)
    with pytest.raises(
        ValueError, match=r"NPGPT_NUM_THREADS must be (a positive whole number|at most 4,096), got"
    ):
        threads.number_from_environment()


def test_the_command_tells_it_before_it_does_anything(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "npgpt", "train", "--out", "run"],
        env={**os.environ, "NPGPT_NUM_THREADS": "many", "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Error: NPGPT_NUM_THREADS must be a positive whole number")
    assert not any(tmp_path.iterdir())


# --- forks ---------------------------------------------------------------------------------------

FORKS = (
    STEP.replace("dropout=0.2", "dropout=0.0")
    .replace("import numba\n", "")
    .replace("print(numba.threading_layer(), digest)", "")
    + """
import multiprocessing, sys

def work(i):
    model.zero_grad()
    model.loss_and_backward(ids[:, :-1], ids[:, 1:])
    return hashlib.sha256(b"".join(p.grad.tobytes() for p in model.parameters())).hexdigest()

model.zero_grad()
before = work(0)
with multiprocessing.get_context("fork").Pool(2) as pool:
    after = pool.map_async(work, range(4)).get(timeout=120)
    threads = pool.apply_async(npgpt.get_num_threads).get(timeout=120)
model.loss_and_backward(ids[:, :-1], ids[:, 1:])  # and the parent goes on
print({before, *after} == {before}, threads, npgpt.get_num_threads())
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_pool_of_forked_processes_computes_the_same_bits_and_does_not_wait(number, layer):
    result = python(FORKS, NPGPT_NUM_THREADS=str(number), NUMBA_THREADING_LAYER=layer)
    assert result.stdout.split() == ["True", "1", str(number)], result.stderr


@pytest.mark.slow
def test_gradients_do_not_depend_on_whether_a_thread_works_alone():
    digests = {python(STEP, NPGPT_NUM_THREADS=str(n)).stdout.split()[1] for n in (1, 2, 3)}
    assert len(digests) == 1


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux only")
def test_one_thread_starts_no_team():
    code = STEP + "print(open('/proc/self/status').read().split('Threads:')[1].split()[0])"
    counts = [
        int(python(code, NPGPT_NUM_THREADS=n, OPENBLAS_NUM_THREADS="1").stdout.split()[-1])
        for n in ("1", "3")
    ]
    assert counts[0] == 1 < counts[1]


# --- the cache -----------------------------------------------------------------------------------

KERNELS = """
import numpy as np
from npgpt import ops
x = np.ones((3, 3), "f")
print(ops.relu_forward(x).sum(), ops.rotary_forward.__name__)
"""
NO_PLACE = "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n"
FULL = """
import errno, numba.core.caching as c
def save(self, key, data): raise OSError(errno.ENOSPC, "No space left on device")
c.IndexDataCacheFile.save = save
"""


@pytest.mark.parametrize("broken", [NO_PLACE, FULL], ids=["no place", "full"])
@pytest.mark.slow
def test_without_a_cache_kernels_work_and_one_sentence_says_so(tmp_path, broken):
    result = python(broken + KERNELS, NUMBA_CACHE_DIR=str(tmp_path))
    assert result.stdout.split() == ["9.0", "rotary_forward"], result.stderr
    assert result.stderr.count("NUMBA_CACHE_DIR") == len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_cache_folder_is_made_and_a_damaged_cache_is_written_anew(tmp_path):
    folder = tmp_path / "not" / "there"
    assert python(KERNELS, NUMBA_CACHE_DIR=str(folder)).returncode == 0
    files = [*folder.rglob("*.nb?")]
    assert {path.suffix for path in files} == {".nbi", ".nbc"}
    sizes = {path: path.stat().st_size for path in files}
    for path in files:
        path.write_bytes(path.read_bytes()[: 40 if path.suffix == ".nbi" else 100])
    result = python(KERNELS, NUMBA_CACHE_DIR=str(folder))
    assert (result.returncode, result.stderr) == (0, "")
    for path in files:
        assert abs(path.stat().st_size - sizes[path]) < 1000


def test_a_cache_folder_that_cannot_be_made_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = python(KERNELS, NUMBA_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert result.stdout.split() == ["9.0", "rotary_forward"], result.stderr


# --- without a compiler --------------------------------------------------------------------------


def test_without_numbas_compiler_the_reference_is_used():
    code = (
        "from npgpt import ops; print(ops.backend());"
        "import numpy; ops.gelu_tanh_forward(numpy.ones((2, 2))); ops.set_num_threads(1)\n"
        "ops.use('compiled')"
    )
    result = python(code, NUMBA_DISABLE_JIT="1")
    assert result.stdout.split() == ["reference"]
    assert result.stderr.splitlines()[-1] == (
        "ValueError: ops.use: there are no compiled operations while NUMBA_DISABLE_JIT is set; the "
        "reference is in use."
    )
