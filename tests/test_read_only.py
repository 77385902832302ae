"""The package works where neither site-packages nor the home folder is writable, as in a read-only container."""

import os
from pathlib import Path

import pytest

# Root may write anywhere, so numba's search for a folder is patched: only the folder that a user names is left.
NOTHING_IS_WRITABLE = """
from numba.core import caching

def refuse(*args):
    raise OSError(30, "Read-only file system")

for locator in (caching.InTreeCacheLocator, caching.UserWideCacheLocator):
    locator.ensure_cache_path = refuse
"""
COMPILE_LITTLE = """
import numba

def compile_for_one_type(signatures, *layout, compile=numba.guvectorize, **options):
    return compile(signatures[:1], *layout, **options)

numba.guvectorize = compile_for_one_type  # to compile for all types, which no MFCC needs, takes seconds
"""
USE_LIBROSA = """
import os, sys
import numpy as np
import sklearn_cpc
from sklearn_cpc import Conv2dEncoder, MFCCTransformer, load, make_cpc

clips = np.random.default_rng(0).standard_normal((2, 22050)).astype(np.float32)
make_cpc("report-conv2d-gru")
Conv2dEncoder()
model = MFCCTransformer().fit(clips)
model.save(sys.argv[1])
np.testing.assert_array_equal(load(sys.argv[1]).transform(clips), model.transform(clips))
print(os.environ.get("NUMBA_CACHE_DIR", ""))
"""
FORK = """
if not (child := os.fork()):
    sys.exit(0)
os.waitpid(child, 0)
assert os.path.isdir(os.environ["NUMBA_CACHE_DIR"])
"""


SET_VARIABLES = """
import os, warnings

warnings.simplefilter("error")
os.environ.pop("NUMBA_CACHE_DIR", None)
os.environ |= {}
"""


@pytest.fixture
def run(run_anew, tmp_path):
    """Run code with environment variables and a temporary folder of its own."""

    def run(code, **variables):
        variables |= {"TMPDIR": str(tmp_path), "NUMBA_OPT": "0"}  # numba compiles in half of the time
        return run_anew(SET_VARIABLES.format(variables) + code, tmp_path, tmp_path / "model.safetensors")

    return run


def test_librosa_works_where_numba_finds_no_writable_folder(run, tmp_path):
    result = run(NOTHING_IS_WRITABLE + COMPILE_LITTLE + USE_LIBROSA + FORK)  # a child does not remove the folder
    assert result.returncode == 0, result.stderr
    folder = Path(result.stdout.strip())
    assert folder.parent == tmp_path
    assert not folder.exists()  # removed at the end


def test_folder_that_the_program_has_set_is_kept(run, tmp_path):
    code = """
import os, numba, sklearn_cpc
print(os.environ["NUMBA_CACHE_DIR"], numba.config.CACHE_DIR)
"""
    result = run(NOTHING_IS_WRITABLE + code, NUMBA_CACHE_DIR=str(tmp_path / "mine"))
    assert result.stdout.split() == [str(tmp_path / "mine")] * 2, result.stderr


def test_environment_is_unchanged_where_a_folder_is_writable(run, tmp_path):
    result = run("import os, sklearn_cpc; print('NUMBA_CACHE_DIR' in os.environ)", HOME=str(tmp_path))
    assert result.stdout.strip() == "False", result.stderr


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root may write to read-only folders")
def test_unwritable_home_is_no_obstacle(run, tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    assert run(USE_LIBROSA, HOME=str(home)).returncode == 0
