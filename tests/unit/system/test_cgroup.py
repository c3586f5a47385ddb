"""The quota of processor time, as containers and services set it."""

from twofour.system import cgroup, hardware

import pytest


def layout(folder, membership, files):
    (folder / "self").write_text(membership)
    for name, content in files.items():
        (folder / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "fs" / name).write_text(content)
    return cgroup.cores(folder / "self", folder / "fs")


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        # version 2: in a container, in a service, the least of all groups above, no limit
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("0::/a.slice/b\n", {"a.slice/cpu.max": "300000 100000", "cpu.max": "max 100000"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "900000 100000"}, 3),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        # version 1, whose path may be that of the host
        (
            "4:cpu,cpuacct:/docker/1f\n0::/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            3,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("3:cpuset:/x\n", {"cpu/cpu.cfs_quota_us": "1", "cpu/cpu.cfs_period_us": "1"}, None),
    ],
)
def test_quota(tmp_path, membership, files, cores):
    assert layout(tmp_path, membership, files) == cores


def test_no_control_groups(tmp_path):
    assert cgroup.cores(tmp_path / "none", tmp_path) is None


def test_a_quota_counts(monkeypatch):
    monkeypatch.setattr(cgroup, "cores", lambda: 1)
    assert hardware.cores() == 1
    assert hardware.threads("auto") == 1


@pytest.mark.parametrize(
    ("membership", "files", "free"),
    [
        (
            "0::/\n",
            {
                "memory.max": "1000\n",
                "memory.current": "700\n",
                "memory.stat": "anon 1\ninactive_file 200\nactive_file 90\nslab_reclaimable 5\n",
            },
            595,
        ),
        (
            "0::/a/b\n",  # the least of all groups above
            {
                "a/memory.max": "900",
                "a/memory.current": "800",
                "a/memory.stat": "",
                "a/b/memory.max": "max",
                "a/b/memory.current": "800",
            },
            100,
        ),
        ("0::/\n", {"memory.max": "max\n", "memory.current": "700\n"}, None),
        (
            "9:memory:/docker/1f\n",
            {
                "memory/memory.limit_in_bytes": "1000",
                "memory/memory.usage_in_bytes": "400",
                "memory/memory.stat": "total_inactive_file 50",
            },
            650,
        ),
        (
            "9:memory:/\n",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/memory.usage_in_bytes": "400",
            },
            None,
        ),
    ],
)
def test_memory(tmp_path, membership, files, free):
    layout(tmp_path, membership, files)
    assert cgroup.free_memory(tmp_path / "self", tmp_path / "fs") == free
