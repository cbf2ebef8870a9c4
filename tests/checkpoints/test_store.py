"""Checkpoints are whole or passed over, whatever happens to them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from adamae.checkpoints.run_checkpoint import Checkpoint, DamagedError
from adamae.checkpoints.store import CheckpointStore
from adamae.errors import UserError
from tests.launching import ROOT


def fill(store: CheckpointStore, *steps: int) -> None:
    for step in steps:
        weights = {"a": torch.full((3,), float(step)), "b": torch.arange(4.0).reshape(2, 2).T}
        training = {"engine": {"step": torch.tensor(step)}, "sums": {"loss": [0.1 * step, 2]}}
        store.save(step, weights, training, {"epoch": step / 10, "model": {"name": "tiny", "size": [1, 2]}})


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


def newest(store: CheckpointStore) -> Checkpoint:
    found = store.newest()
    assert found is not None
    return found


def test_round_trip(store: CheckpointStore) -> None:
    assert store.newest() is None
    fill(store, 7)
    found = newest(store)
    assert (found.step, found.meta) == (7, {"epoch": 0.7, "model": {"name": "tiny", "size": [1, 2]}})
    assert torch.equal(found.weights()["b"], torch.tensor([[0.0, 2.0], [1.0, 3.0]]))
    assert found.training()["sums"] == {"loss": [0.1 * 7, 2]}
    assert (store.directory / "latest").read_text() == "step-00000007\n"
    assert sorted(path.name for path in found.directory.iterdir()) == ["meta.json", "model.safetensors", "training.pt"]


def test_checksums_are_those_of_sha256sum(store: CheckpointStore) -> None:
    fill(store, 7)
    directory = newest(store).directory
    promised = json.loads((directory / "meta.json").read_text())["content"]["files"]
    told = subprocess.run(["sha256sum", directory / "training.pt"], capture_output=True, text=True, check=True).stdout
    assert told.split()[0] == promised["training.pt"]["sha256"]


@pytest.mark.parametrize(("keep_last", "kept"), [(1, [6]), (2, [5, 6]), (9, [1, 2, 3, 4, 5, 6])])
def test_keeping(tmp_path: Path, keep_last: int, kept: list[int]) -> None:
    store = CheckpointStore(tmp_path, keep_last=keep_last)
    fill(store, *range(1, 7))
    assert sorted(path.name for path in tmp_path.glob("*")) == ["latest", *(f"step-{step:08d}" for step in kept)]


def test_keeping_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="keep_last = 0"):
        CheckpointStore(tmp_path, keep_last=0)


@pytest.mark.parametrize("name", ["meta.json", "model.safetensors", "training.pt"])
def test_cut_anywhere_or_with_a_flipped_byte_it_is_passed_over(store: CheckpointStore, name: str) -> None:
    fill(store, 1, 2)
    path = newest(store).directory / name
    whole = path.read_bytes()
    stride = max(1, len(whole) // 400)
    for position in range(0, len(whole), stride):
        flipped = whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :]
        for damaged in (whole[:position], flipped):
            path.write_bytes(damaged)
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                found = newest(store)
            if found.step == 2:  # a space of the description became another: it says the same
                assert name == "meta.json" and json.loads(damaged) == json.loads(whole)
            else:
                assert "skipping corrupt checkpoint" in str(told[0].message) and name in str(told[0].message)
    path.unlink()
    with pytest.warns(UserWarning, match=name):
        assert newest(store).step == 1
    path.write_bytes(whole)
    assert newest(store).step == 2


@pytest.mark.parametrize("text", ["", "step-", "step-00000009\n", "\x00\xff"])
def test_a_damaged_pointer_does_no_harm(store: CheckpointStore, text: str) -> None:
    fill(store, 1, 2)
    (store.directory / "latest").write_bytes(text.encode("latin1"))
    assert newest(store).step == 2


def test_what_lies_beyond_latest_belongs_to_a_run_that_was_taken_back(store: CheckpointStore) -> None:
    fill(store, 10, 20)
    fill(store, 15)
    assert newest(store).step == 15
    fill(store, 20)
    assert newest(store).step == 20


def steps(store: CheckpointStore) -> list[int]:
    return sorted(int(path.name[5:]) for path in store.directory.glob("step-*"))


def cut(store: CheckpointStore, step: int) -> None:
    (store.directory / f"step-{step:08d}" / "training.pt").write_bytes(b"PK")


def found_after_damage(store: CheckpointStore) -> list[int]:
    """What is found, and what when that is damaged, until nothing is."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while True:
            try:
                found.append(newest(store).step)
            except DamagedError:
                return found
            cut(store, found[-1])


def test_a_run_that_was_begun_anew_falls_back_to_its_own_only(store: CheckpointStore) -> None:
    fill(store, 20, 40)
    anew = CheckpointStore(store.directory)
    anew.begin(anew.find("none"))
    fill(anew, 10)
    # Begun anew by mistake, the run before can still be resumed by its path.
    assert steps(store) == [10, 20, 40]
    fill(anew, 30)
    assert steps(store) == [10, 30, 40]
    assert found_after_damage(store) == [30, 10]


def test_a_run_that_was_taken_back_falls_back_to_what_it_began_from(store: CheckpointStore) -> None:
    fill(store, 10, 20, 30, 40)
    back = CheckpointStore(store.directory, keep_last=4)
    back.begin(back.find(str(store.directory / "step-00000030")))
    fill(back, 35, 45)
    assert steps(store) == [30, 35, 45]
    again = CheckpointStore(store.directory, keep_last=4)
    again.begin(again.find("auto"))
    fill(again, 50)
    assert found_after_damage(store) == [50, 45, 35, 30]


def test_what_an_older_release_wrote_is_kept_and_found(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=3)
    fill(store, 1, 2, 3)
    for path in tmp_path.glob("step-*/meta.json"):
        content = json.loads(path.read_text())["content"]
        del content["before"]
        seal = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps({"content": content, "sha256": seal}))
    later = CheckpointStore(tmp_path, keep_last=3)
    later.begin(later.find("auto"))
    fill(later, 4)
    assert steps(store) == [2, 3, 4]
    assert found_after_damage(store) == [4, 3, 2]


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_where_none_is_whole_the_person_is_asked(store: CheckpointStore, harm: str) -> None:
    fill(store, 1, 2)
    for directory in store.directory.glob("step-*"):
        if harm == "cut":
            (directory / "training.pt").write_bytes(b"PK")
        else:
            shutil.rmtree(directory)
    about = r"step-00000002/(training\.pt: has 2 bytes|meta\.json: cannot be read: No such file)"
    with pytest.raises(DamagedError, match=rf"checkpoints: none of its \d checkpoints is valid: .*{about}") as told:
        store.newest()
    assert "--resume" not in str(told.value)
    with pytest.raises(UserError, match=r"--resume none starts a new run and overwrites the log$"):
        store.find("auto")
    assert store.find("none") is None


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder below which modes count: as root this process is somebody else for the test."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(me)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["meta.json", "model.safetensors", "training.pt", ".", "../latest", ".."])
def test_what_may_not_be_read_is_an_error_with_its_path(shared: Path, name: str) -> None:
    store = CheckpointStore(shared / "checkpoints")
    fill(store, 1, 2)
    path = Path(os.path.normpath(store.directory / "step-00000002" / name))
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        for resume in ("auto", str(shared), str(store.directory), str(store.directory / "step-00000002")):
            if name == "../latest" and resume.endswith("2"):
                continue
            with pytest.raises(UserError, match=r"/[\w/.-]+: cannot be read: Permission denied") as told:
                store.find(resume)
            assert str(path) in str(told.value)
            assert not isinstance(told.value, DamagedError)
    finally:
        path.chmod(mode)
    assert newest(store).step == 2


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_files_have_the_rights_that_the_umask_says(store: CheckpointStore, mask: int) -> None:
    before = os.umask(mask)
    try:
        fill(store, 1)
    finally:
        os.umask(before)
    files = [path for path in store.directory.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"model.safetensors", "training.pt", "meta.json", "latest"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~mask}


def test_leftovers_are_cleaned_and_never_read(store: CheckpointStore) -> None:
    fill(store, 1)
    shutil.copytree(store.directory / "step-00000001", store.directory / ".unfinished-step-00000002")
    (store.directory / ".unfinished-latest").write_text("step-")
    assert newest(store).step == 1
    store.clean()
    assert sorted(path.name for path in store.directory.iterdir()) == ["latest", "step-00000001"]


@pytest.mark.parametrize("keep_last", [1, 2])
@pytest.mark.parametrize("end", ["killed", "error"])
def test_ended_while_one_takes_the_place_of_another_it_is_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_last: int, end: str
) -> None:
    class KilledError(BaseException):
        pass

    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == ".unfinished-step-00000020":
            raise KilledError if end == "killed" else OSError(5, "Input/output error")
        return rename(path, target)

    store = CheckpointStore(tmp_path, keep_last=keep_last)
    fill(store, 20)
    before = (newest(store).directory / "training.pt").read_bytes()
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(KilledError if end == "killed" else UserError):
        fill(store, 20)
    monkeypatch.undo()
    found = newest(store)
    assert (found.step, (found.directory / "training.pt").read_bytes()) == (20, before)
    assert (found.directory.name == "step-00000020") == (end == "error")
    store.clean()
    assert newest(store).directory.name == "step-00000020"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step-00000020"]
    # What the end left behind is not in the way of the next attempt.
    fill(store, 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step-00000020"]


def test_find(store: CheckpointStore, tmp_path: Path) -> None:
    assert store.find("auto") is None
    fill(store, 1, 2)
    assert store.find("none") is None
    for path in (tmp_path, store.directory, store.directory / "step-00000001"):
        found = CheckpointStore(tmp_path / "other").find(str(path))
        assert found is not None
        assert found.step == (1 if path.name == "step-00000001" else 2)
    with pytest.raises(UserError, match=r"--resume /nowhere: no valid checkpoint found"):
        store.find("/nowhere")
    (store.directory / "step-00000001" / "training.pt").unlink()
    with pytest.raises(DamagedError, match=r"training\.pt: cannot be read"):
        store.find(str(store.directory / "step-00000001"))


def test_training_state_is_data_and_never_code(store: CheckpointStore, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(tmp_path / "sprung"),))

    fill(store, 1)
    checkpoint = newest(store)
    torch.save({"engine": Trap()}, checkpoint.directory / "training.pt")
    with pytest.raises(Exception, match="weights_only"):
        checkpoint.training()
    assert not (tmp_path / "sprung").exists()


@pytest.mark.slow
@pytest.mark.parametrize("limit", [100, 3000, 9000])
def test_a_full_disk_leaves_the_older_one(store: CheckpointStore, limit: int) -> None:
    """A limit on the size of files stands for the disk: writing beyond it fails as a full disk does."""
    fill(store, 1)
    script = f"""
import resource, signal, torch
from adamae.checkpoints.store import CheckpointStore
from adamae.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    CheckpointStore({str(store.directory)!r}).save(2, {{"a": torch.ones(500)}}, {{"b": torch.ones(20000)}}, {{}})
except UserError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.count("\n") == 1
    assert "step-00000002: the checkpoint could not be written: " in told
    assert "File too large" in told
    assert sorted(path.name for path in store.directory.iterdir()) == ["latest", "step-00000001"]
    assert newest(store).step == 1


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(UserError, match="could not be written"):
        fill(CheckpointStore(tmp_path / "checkpoints"), 1)
