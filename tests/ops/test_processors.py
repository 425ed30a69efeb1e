"""How many processors a process may use: affinity, and the quotas of control groups."""

import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npgpt.ops.processors import affinity, available_processors, cgroup_limit

PERIODS = st.sampled_from([1000, 50_000, 100_000, 1_000_000])
QUOTAS = st.none() | st.integers(1000, 5_000_000)
LEVELS = st.lists(st.tuples(QUOTAS, PERIODS), min_size=1, max_size=4)


def fake(root, lines, files):
    """Write /proc/self/cgroup and files below /sys/fs/cgroup."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(lines)
    for name, content in files.items():
        path = root / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def expected(levels):
    shares = [quota / period for quota, period in levels if quota is not None]
    return max(1, math.ceil(min(shares))) if shares else None


def folders(levels):
    return ["/".join(f"g{i}" for i in range(depth)) for depth in range(len(levels))]


@given(LEVELS)
def test_the_smallest_quota_of_version_2_counts(tmp_path_factory, levels):
    files = {
        f"{folder}/cpu.max".lstrip("/"): f"{'max' if quota is None else quota} {period}\n"
        for folder, (quota, period) in zip(folders(levels), levels, strict=True)
    }
    root = fake(tmp_path_factory.mktemp("v2"), f"0::/{folders(levels)[-1]}\n", files)
    assert cgroup_limit(root) == expected(levels)


@given(LEVELS, st.sampled_from(["cpu", "cpu,cpuacct", "cpuacct,cpu"]))
def test_the_smallest_quota_of_version_1_counts(tmp_path_factory, levels, controllers):
    files = {}
    for folder, (quota, period) in zip(folders(levels), levels, strict=True):
        files[f"{controllers}/{folder}/cpu.cfs_quota_us"] = str(-1 if quota is None else quota)
        files[f"{controllers}/{folder}/cpu.cfs_period_us"] = str(period)
    lines = f"9:cpuset:/\n4:{controllers}:/{folders(levels)[-1]}\n1:name=systemd:/x\n"
    assert cgroup_limit(fake(tmp_path_factory.mktemp("v1"), lines, files)) == expected(levels)


def test_a_quota_is_rounded_up_and_at_least_one(tmp_path):
    for i, (content, limit) in enumerate(
        [("150000 100000", 2), ("100000 100000", 1), ("1000 100000", 1), ("250000", 3)]
    ):
        assert cgroup_limit(fake(tmp_path / f"{i}", "0::/\n", {"cpu.max": content})) == limit


def test_in_a_container_the_mount_begins_at_its_own_group(tmp_path):
    root = fake(tmp_path, "0::/docker/0123abc\n", {"cpu.max": "200000 100000"})
    assert cgroup_limit(root) == 2
    outside = fake(tmp_path / "b", "0::/../../other\n", {"cpu.max": "300000 100000"})
    assert cgroup_limit(outside) == 3


@pytest.mark.parametrize("content", ["", "max", "max 100000", "x y", "-1 100000", "0 0", "nan 1"])
def test_what_is_no_quota_limits_nothing(tmp_path, content):
    assert cgroup_limit(fake(tmp_path, "0::/\nnonsense\n", {"cpu.max": content})) is None


def test_a_machine_without_control_groups_is_limited_by_the_affinity_alone(tmp_path):
    assert cgroup_limit(tmp_path) is None
    assert available_processors(tmp_path) == affinity() >= 1


def test_both_the_affinity_and_the_quota_count(tmp_path, monkeypatch):
    root = fake(tmp_path, "0::/\n", {"cpu.max": "300000 100000"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8), raising=False)
    assert available_processors(root) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(2), raising=False)
    assert available_processors(root) == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert available_processors(root) == 1
