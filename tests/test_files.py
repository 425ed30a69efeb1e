"""npgpt.files, through which every tokenizer is saved."""

import ast
import os
import stat
from pathlib import Path
from unittest.mock import Mock

import pytest
from safetensors import SafetensorError

import npgpt
from npgpt.files import CONFIG, TOKENIZER, atomic_path, refuse_used, write_atomically
from npgpt.hub.containers.safetensors import write_safetensors


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_the_content_is_written_and_no_temporary_file_stays(tmp_path):
    path = tmp_path / "file.bin"
    for content in (b"first", b"", b"\x00\xff second"):
        write_atomically(path, content)
        assert path.read_bytes() == content
        assert names(tmp_path) == ["file.bin"]


def test_the_path_holds_the_old_content_until_the_block_ends(tmp_path):
    path = tmp_path / "file.bin"
    write_atomically(path, b"old")
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path  # a rename is atomic only within a file system
        temporary.write_bytes(b"half")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"half"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("existing", [True, False])
def test_a_block_that_raises_leaves_everything_as_it_was(tmp_path, error, existing):
    path = tmp_path / "file.bin"
    if existing:
        path.write_bytes(b"old")
    before = names(tmp_path)

    def fail_half_way():
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert names(tmp_path) == before
    assert not existing or path.read_bytes() == b"old"


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_failing_disk_leaves_everything_as_it_was(tmp_path, monkeypatch, step):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.skipif(os.name != "posix", reason="only there can a folder be flushed")
def test_file_is_flushed_before_the_rename_and_folder_after_it(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("flush folder" if is_folder else "flush file")
        fsync(descriptor)

    def record_replace(old, new):
        steps.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    write_atomically(tmp_path / "file.bin", b"content")
    assert steps == ["flush file", "rename", "flush folder"]


@pytest.mark.skipif(os.name != "posix", reason="only there files have modes")
def test_the_mode_is_that_of_an_ordinary_new_file(tmp_path):
    ordinary, atomic = tmp_path / "ordinary", tmp_path / "atomic"
    ordinary.write_bytes(b"")
    write_atomically(atomic, b"")
    assert atomic.stat().st_mode == ordinary.stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="only there files have modes")
def test_the_mode_stays_when_the_writer_replaces_the_temporary_file(tmp_path):
    ordinary, atomic = tmp_path / "ordinary", tmp_path / "atomic"
    ordinary.write_bytes(b"")
    with atomic_path(atomic) as temporary:
        private = tmp_path / "private"
        private.write_bytes(b"as safetensors does")
        private.chmod(0o600)
        private.replace(temporary)
    assert atomic.stat().st_mode == ordinary.stat().st_mode


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*none to write file\.bin"):
        write_atomically(tmp_path / "none" / "file.bin", b"content")


def test_a_full_disk_names_the_file_that_was_asked_for(tmp_path):
    with (
        pytest.raises(OSError, match=r"wanted\.bin") as caught,
        atomic_path(tmp_path / "wanted.bin"),
    ):
        raise OSError(28, "No space left on device")  # as write() reports it: without a name
    assert caught.value.errno == 28
    assert names(tmp_path) == []


def test_what_safetensors_cannot_write_is_an_error_of_the_system(tmp_path, monkeypatch):
    path = tmp_path / "wanted.bin"
    full = SafetensorError("I/O error: No space left on device (os error 28)")
    monkeypatch.setattr("safetensors.numpy.save_file", Mock(side_effect=full))
    with pytest.raises(OSError, match=r"could not be written: .*error 28"):
        write_safetensors(path, {})
    assert names(tmp_path) == []


def test_only_a_folder_that_is_new_or_empty_may_be_written_to(tmp_path):
    refuse_used(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    refuse_used(str(tmp_path / "empty"))
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "full", "link"):
        with pytest.raises(FileExistsError, match=f"{name} exists already; choose another folder"):
            refuse_used(tmp_path / name)
    with pytest.raises(FileExistsError, match="exists already; look elsewhere"):
        refuse_used(tmp_path / "full", "look elsewhere")


def test_the_names_of_files_in_every_models_folder_stand_once():
    package = Path(npgpt.__file__).parent
    for name in (CONFIG, TOKENIZER):
        places = [
            path.relative_to(package).as_posix()
            for path in package.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and node.value == name
        ]
        places.remove("files.py")
        # the name of a format, in a file of which it says what the file is
        assert set(places) <= {"tokenizers/tokenizer_json.py"}
