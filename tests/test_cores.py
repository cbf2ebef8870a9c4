"""The cores of this process: its affinity, and the quota of its container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adamae import cores


def tree(folder: Path, membership: str, **files: str) -> tuple[Path, Path]:
    """Write a file of control groups and a tree of them; ``__`` in names is a slash."""
    (folder / "cgroup").write_text(membership, errors="surrogateescape")
    for name, text in files.items():
        path = folder / "root" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "cgroup", folder / "root"


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {"cpu_dot_max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu_dot_max": "max 100000\n"}, None),
        # The lowest of the group and those above; a group without the controller has no file.
        ("0::/a/b/c\n", {"a__cpu_dot_max": "400000 100000\n", "a__b__cpu_dot_max": "600000 100000\n"}, 4.0),
        ("0::/a/b\n", {"a__cpu_dot_max": "max 100000\n", "a__b__cpu_dot_max": "600000 100000\n"}, 6.0),
        # The path of the host, of which a container sees the root.
        ("0::/kubepods/pod7\n", {"cpu_dot_max": "200000 100000\n"}, 2.0),
        (
            "4:memory:/x\n2:cpu,cpuacct:/docker/7\n0::/\n",
            {"cpu__cpu_dot_cfs_quota_us": "250000\n", "cpu__cpu_dot_cfs_period_us": "100000\n"},
            2.5,
        ),
        ("2:cpu:/\n", {"cpu__cpu_dot_cfs_quota_us": "-1\n", "cpu__cpu_dot_cfs_period_us": "100000\n"}, None),
        ("4:cpuset:/\n", {"cpu__cpu_dot_cfs_quota_us": "1000\n", "cpu__cpu_dot_cfs_period_us": "100000\n"}, None),
        ("0::/\n", {"cpu_dot_max": "nonsense\n"}, None),
        ("", {}, None),
        ("nonsense\n\n0::/caf\udce9/a\u2028b\n", {"cpu_dot_max": "300000 100000\n"}, 3.0),
    ],
)
def test_the_quota_of_a_container(tmp_path: Path, membership: str, files: dict[str, str], quota: float | None) -> None:
    assert cores.cpu_quota(*tree(tmp_path, membership, **files)) == quota


def test_no_quota_without_control_groups(tmp_path: Path) -> None:
    assert cores.cpu_quota(tmp_path / "absent", tmp_path) is None


@pytest.mark.parametrize(("quota", "expected"), [(None, 3), (0.5, 1), (2.5, 2), (64.0, 3)])
def test_cores_within_affinity_and_quota(monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert cores.usable_cores() == expected


def test_cores_without_an_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(cores, "cpu_quota", lambda: None)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores.usable_cores() == 6
