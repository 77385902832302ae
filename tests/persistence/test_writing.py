"""A file is written whole or not at all."""

import errno
import os
import resource
import stat

import pytest
from models import assert_same_results, fitted, mfcc, reducer
from numpy.testing import assert_array_equal

from sklearn_cpc import _files as file_functions
from sklearn_cpc import load, save


@pytest.fixture
def path(tmp_path):
    """Return where an earlier model lies."""
    save(fitted("reducer"), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def fail(number):
    def failing(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return failing


def assert_untouched(path):
    assert os.listdir(path.parent) == [path.name]
    assert_same_results(load(path), fitted("reducer"))


def test_an_earlier_file_is_replaced(path):
    save(fitted("mfcc"), path)
    assert os.listdir(path.parent) == [path.name]
    assert_same_results(load(path), fitted("mfcc"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_leaves_the_earlier_file(number, path, monkeypatch):
    monkeypatch.setattr(file_functions.os, "fsync", fail(number))
    with pytest.raises(OSError, match=f"{os.strerror(number)}.*What was there before is unchanged") as caught:
        save(fitted("mfcc"), path)
    assert caught.value.errno == number
    assert str(path) in str(caught.value)
    monkeypatch.undo()
    assert_untouched(path)


def test_a_file_that_may_not_grow_leaves_the_earlier_one(path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="What was there before is unchanged"):
            save(fitted("pipeline"), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_untouched(path)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_may_not_be_written_to_is_named(number, path, monkeypatch):
    monkeypatch.setattr("builtins.open", fail(number))
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        save(fitted("mfcc"), path)
    assert isinstance(caught.value, PermissionError) == (number == errno.EACCES)
    monkeypatch.undo()
    assert_untouched(path)


def test_an_interruption_leaves_the_earlier_file(path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(file_functions.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(fitted("mfcc"), path)
    monkeypatch.undo()
    assert_untouched(path)


def test_unfinished_file_of_killed_process_is_removed(path):
    partial = path.with_name(".sklearn_cpc-0123456789abcdef")
    partial.write_bytes(b"half")
    partial.with_suffix(".lock").touch()  # no process holds it
    save(fitted("mfcc"), path)
    assert os.listdir(path.parent) == [path.name]


def test_file_is_private_from_the_start_if_the_earlier_one_is(path, monkeypatch):
    path.chmod(0o600)
    modes, replace = [], os.replace

    def note(partial, target):
        modes.append(stat.S_IMODE(os.stat(partial).st_mode))
        replace(partial, target)

    monkeypatch.setattr(file_functions.os, "replace", note)
    save(fitted("mfcc"), path)
    assert modes == [0o600]


def test_an_estimator_that_cannot_be_saved_leaves_the_earlier_file(path):
    with pytest.raises(TypeError):
        save(mfcc(verbose=2**70).fit([[0.0] * 500]), path)
    assert_untouched(path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        save(fitted("mfcc"), tmp_path / "missing" / "model.safetensors")


def test_directories_and_devices_are_not_replaced(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a directory; name a file"):
        save(fitted("mfcc"), tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for special in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(FileExistsError, match="device or a pipe"):
            save(fitted("mfcc"), special)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_link_stays_and_leads_to_the_new_file(path):
    link = path.with_name("latest.safetensors")
    link.symlink_to(path)
    save(fitted("mfcc"), link)
    assert link.is_symlink()
    assert_same_results(load(path), fitted("mfcc"))


def test_others_may_read_it_as_far_as_they_may_read_other_files(path):
    other = path.with_name("other")
    other.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)
    path.chmod(0o640)
    save(fitted("mfcc"), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_names_of_any_length_and_alphabet_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("m", "ä" * 120, "x" * 255, "𝅘𝅥𝅮" * 20, b"model-\xff"):
        save(fitted("mfcc"), name)
        assert_array_equal(load(name).get_feature_names_out(), fitted("mfcc").get_feature_names_out())


def test_what_is_too_long_to_describe_is_not_saved(path):
    long = reducer(max_epochs=1).fit([[0.0] * 4] * 8)
    long.history_ = [{"note": "x" * 2**23}]
    with pytest.raises(ValueError, match="shorten history_"):
        save(long, path)
    assert_untouched(path)
