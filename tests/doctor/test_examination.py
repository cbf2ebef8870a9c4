"""What the doctor says of a machine, and that it says it in one screen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adamae.cli import main as cli
from adamae.data import decoding
from adamae.distributed import World
from adamae.doctor import examination, folders, trial
from adamae.doctor.findings import Finding, must_change, render
from adamae.doctor.folders import check_output, file_system, judge_data, judge_output
from adamae.doctor.hardware import judge_driver, judge_gpus, judge_nccl
from adamae.doctor.software import check_decoders, check_packages, judge_deepspeed
from adamae.doctor.system import judge_locked_memory, judge_open_files, judge_shared_memory
from adamae.doctor.trial import judge_losses
from adamae.training.deepspeed import OLDEST

GIB = 2**30
MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:31 / /data rw - nfs4 server:/data rw
31 30 0:32 / /data/my\\040videos rw - lustre server@o2ib:/x rw
32 22 0:33 / /dat rw - tmpfs tmpfs rw
"""


def test_a_machine_without_gpu_and_data_passes_in_one_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(["doctor", "--output_dir", str(tmp_path / "runs"), "--device", "cpu"])
    said = capsys.readouterr().out
    # A machine without a decoder, or with a limit that is too low, is told so.
    assert code == int("Must be changed:" in said), said
    assert "trial run     10 steps on cpu in fp32, 1 process: " in said
    assert len(said.splitlines()) <= 30 and max(map(len, said.splitlines())) <= 110
    assert list(tmp_path.iterdir()) == []


def test_what_must_change_is_exit_code_1_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_run", lambda world, precision: ([1.0, float("nan")], [1.0, 1.0]))
    assert cli.main(["doctor", "--data_path", str(tmp_path / "none"), "--output_dir", str(tmp_path), "--json"]) == 1
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["data"]["status"] == "change" and found["data"]["change"] == "no such file or folder"
    assert found["trial run"]["change"] == "losses are not finite"


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        (judge_driver("580.1", "13.0", True, ""), "ok", "driver 580.1, torch built for CUDA 13.0"),
        (judge_driver("580.1", None, False, ""), "change", "torch was built without CUDA"),
        (judge_driver("470.1", "13.0", False, "The driver is too old"), "change", "GPU (The driver is too old)"),
        (judge_driver(None, "13.0", False, ""), "note", "no GPU was found"),
        (judge_driver(None, None, False, ""), "ok", "driver none, torch built for the CPU"),
        (judge_gpus("H100", (9, 0), ["sm_80", "sm_90"], [0.99]), "ok", "H100"),
        (judge_gpus("RTX", (8, 9), ["sm_80", "sm_90"], [0.99]), "ok", "RTX"),
        (judge_gpus("new", (12, 0), ["sm_90", "compute_90"], [0.99]), "ok", "new"),
        (judge_gpus("new", (12, 0), ["sm_80", "sm_90"], [0.99]), "change", "torch was built for sm_80, sm_90"),
        (judge_gpus("2 x H100", (9, 0), ["sm_90"], [0.99, 0.5]), "note", "memory of GPU 1 is in use"),
        (judge_gpus("V100", (7, 0), ["sm_70"], [1.0]), "note", "no bf16"),
        (judge_nccl("2.27", None, {}), "ok", "2.27"),
        (judge_nccl("2.27", False, {"NCCL_P2P_DISABLE": "1"}), "note", "unset NCCL_P2P_DISABLE"),
        (judge_nccl("2.27", True, {"NCCL_P2P_DISABLE": "0"}), "ok", "NCCL_P2P_DISABLE=0"),
        (judge_shared_memory(64 * 2**20, 8, 1), "change", "docker run --shm-size 16g"),
        (judge_shared_memory(64 * GIB, 8, 1), "ok", "64.0 GiB free"),
        (judge_shared_memory(3 * GIB // 2, 8, 1), "ok", "1.5 GiB free"),
        (judge_shared_memory(3 * GIB // 2, 7, 8), "change", "with 7 workers in each of 8 training processes"),
        (judge_shared_memory(3 * GIB // 2, 8, 16), "change", "docker run --shm-size 19g"),
        (judge_open_files(1024, 4096, 8), "note", "ulimit -n 4096"),
        (judge_open_files(256, -1, 1), "change", "ulimit -n 65536"),
        (judge_open_files(1024, 1024, 8), "note", "only root can raise the hard limit: docker run --ulimit nofile="),
        (judge_open_files(256, 2048, 8), "change", "ulimit -n 2048"),
        (judge_open_files(256, 256, 8), "change", "only root can raise the hard limit"),
        (judge_open_files(-1, -1, 8), "ok", "unlimited"),
        (judge_locked_memory(8 * 2**20, True), "change", "ulimit -l unlimited"),
        (judge_locked_memory(8 * 2**20, False), "ok", "8 MiB"),
        (judge_output("/x: ext4", 1 * GIB, 1000), "change", "expected at least 3 GiB"),
        (judge_output("/x: nfs4 (network)", 10 * GIB, 5), "note", "writing is slow"),
        (judge_output("/x: ext4", 100 * GIB, 1000), "ok", "100 GiB free, 1000 small files/s"),
        (judge_data("/x: nfs4 (network)", 20), "note", "adamae pack"),
        (judge_losses("10 steps", [1.0, 0.5]), "ok", "loss 1.000 to 0.500"),
        (judge_deepspeed(None, 2), "change", 'with several processes: pip install "deepspeed~='),
        (judge_deepspeed("0.15.0", 8), "change", f"0.15.0 is installed, expected {OLDEST} or newer"),
        (judge_deepspeed("0.15.0", 1), "note", "or --engine plain"),
        (judge_deepspeed(None, 1), "note", "none"),
        (judge_deepspeed(OLDEST, 8), "ok", OLDEST),
        (check_packages(["torch>=2.6", "einops>=0.8"], {"torch": "2.10.1"}.get), "change", "einops is missing"),
        (check_packages(["torch>=2.6"], {"torch": "2.5.1+cu121"}.get), "change", "torch 2.5.1+cu121: expected 2.6"),
        (check_packages(["torch>=2.6", 'av>=1; extra == "x"'], {"torch": "2.10"}.get), "ok", "torch 2.10"),
    ],
)  # fmt: skip
def test_what_is_said(found: Finding, status: str, words: str) -> None:
    assert found.status == status
    assert words in f"{found.value} {found.change} {found.note}"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home", "ext4"), ("/data/x", "nfs4 (network)"), ("/data/my videos/x", "lustre (network)"), ("/dat", "tmpfs"),
    ],
)  # fmt: skip
def test_the_innermost_mount_counts(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind


def test_several_processes_without_deepspeed_must_change_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adamae.doctor.software.installed_version", lambda package: None)
    monkeypatch.setattr(examination, "try_steps", lambda world: Finding("trial run", ""))
    monkeypatch.setattr(World, "gather", lambda self, value: [value, value])
    found = {each.name: each for each in examination.examine(World(size=2), tmp_path)}
    assert "DeepSpeed is not installed" in found["DeepSpeed"].change


def test_shared_memory_is_that_of_all_processes_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(examination, "check_system", lambda processes: asked.append(processes) or [])
    monkeypatch.setattr(examination, "try_steps", lambda world: Finding("trial run", ""))
    monkeypatch.setattr(World, "gather", lambda self, value: [value, "other", value])
    found = {each.name: each for each in examination.examine(World(size=3), tmp_path)}
    assert asked == [2] and "1 on other; all respond" in found["processes"].value


def test_advice_stands_below_what_was_found() -> None:
    found = [Finding("a", "1"), Finding("b", "2", change="do this"), Finding("c", "3", note="or that")]
    assert must_change(found) and not must_change(found[::2])
    assert render(found).splitlines()[-5:] == [
        "Must be changed:",
        "  b             do this",
        "",
        "Consider:",
        "  c             or that",
    ]
    assert render(found[:1]).endswith("\n\nNothing to change.")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> float:
        raise PermissionError(13, "Permission denied")

    assert check_output(tmp_path).change in ("", "expected at least 3 GiB for two checkpoints")
    monkeypatch.setattr(folders, "_write_rate", refuse)
    assert check_output(tmp_path / "deep" / "er").change == "cannot be written: Permission denied"


def test_a_decoder_that_gives_other_pictures_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "pyav (works)" in check_decoders().value
    from adamae.data.decoding import pyav

    opened = pyav.open_video

    def other(*arguments: object, **named: object) -> object:
        reader = opened(*arguments, **named)
        read = reader.read
        reader.read = lambda indices: 255 - read(indices)
        return reader

    monkeypatch.setattr(pyav, "open_video", other)
    found = check_decoders()
    assert "pyav (fails)" in found.value and "differ by" in found.change
    monkeypatch.setattr(decoding, "find_spec", lambda name: None)
    monkeypatch.setattr("adamae.doctor.software.installed_decoders", list)
    assert check_decoders().change.startswith("install one of decord, pyav")
