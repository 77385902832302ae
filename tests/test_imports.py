"""What is imported when: little at first, the rest before it can be cut off by Ctrl-C."""

import signal

import pytest
from corpus import rising_tones, small_cpc

from sklearn_cpc._interrupts import note_interrupts

PREPARE = """
import signal, sys
import numpy as np
import sklearn_cpc
from sklearn_cpc import CausalAttentionContext, Conv1dEncoder, CPCTransformer, EmbeddingMonitor, LinearProbe
from sklearn_cpc import LogMelEncoder, LSTMContext, load

clips = np.random.default_rng(0).standard_normal((12, 2000)).astype("float32")
labels = np.arange(12) % 2

def small_cpc(autoregressor="gru", *, log_mel=False, **changes):
    small = {"sample_rate": 1000, "z_dim": 8}
    encoder = Conv1dEncoder(n_filters=8, dense_units=8, **small)
    if log_mel:
        encoder = LogMelEncoder(n_mels=4, window_duration=0.128, **small)
    options = {"clip_duration": 2.0, "n_context": 3, "n_future": 1, "max_epochs": 1, "batch_size": 4}
    return CPCTransformer(encoder, autoregressor, random_state=0, **{**options, **changes})
"""


@pytest.fixture(scope="module")
def run(run_anew, tmp_path_factory):
    """Run code in a process that has only imported the package; returns what it prints."""

    def run(code, *arguments):
        result = run_anew(PREPARE + code, tmp_path_factory.mktemp("run"), *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


@pytest.fixture(scope="module")
def imported(run, tmp_path_factory):
    """Names of the modules that the package imports, and of those that training and loading import after that."""
    code = """
print(*sys.modules)
from sklearn_cpc.training.loop import finish_imports

finish_imports()
before = set(sys.modules)
monitor = EmbeddingMonitor(labelled=(clips, labels))
cpc = small_cpc(schedule="cosine", validation_fraction=0.3, callbacks=[monitor], checkpoint=sys.argv[1]).fit(clips)
cpc.partial_fit(clips)
cpc.score(clips)
cpc.transform_frames(clips)
small_cpc(CausalAttentionContext(c_dim=8), precision="bfloat16").fit_transform(clips.astype(float))
small_cpc(LSTMContext(c_dim=8), log_mel=True).fit_transform(clips)
LinearProbe(max_epochs=1).fit(clips, labels).save(sys.argv[2])
cpc.set_params(callbacks=None).save(sys.argv[2])
load(sys.argv[2]).transform(clips)
print(*set(sys.modules) - before)
"""
    folder = tmp_path_factory.mktemp("imported")
    return [set(line.split()) for line in run(code, folder / "checkpoints", folder / "model").splitlines()]


def test_package_leaves_large_libraries_for_later(imported):
    assert "skorch" in imported[0]
    heavy = {"matplotlib", "librosa", "numba", "pooch", "requests", "sympy", "torch._dynamo"}
    extras = {"bokeh", "crowsetta", "dask", "huggingface_hub", "onnx", "onnxruntime", "ray", "s3fs"}
    assert not (heavy | extras) & imported[0]


def test_training_imports_no_more_of_torch_once_it_has_started(imported):
    late = [name for name in imported[1] if name not in ("torch.utils._device", "torch.utils.serialization")]
    assert [name for name in late if name.split(".")[0] in ("torch", "sympy", "mpmath", "skorch")] == []


# Press Ctrl-C in the middle of the imports: when sympy has some of its parts, but not all
PRESS = """
class Press:
    pressed = False

    def find_spec(self, name, path=None, target=None):
        if name == "sympy.geometry" and not self.pressed:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)

press = Press()
sys.meta_path.insert(0, press)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background may ignore it
"""


def test_ctrl_c_in_the_first_training_does_no_harm_to_the_next(run):
    code = """
probe = LinearProbe(max_epochs=1)
try:
    probe.fit(clips, labels)
except KeyboardInterrupt:
    print("interrupted", press.pressed, hasattr(probe, "network_"))
print(probe.fit(clips, labels).n_iter_)
small_cpc().fit(clips)
"""
    assert run(PRESS + code).split() == ["interrupted", "True", "False", "1"]


def test_ctrl_c_while_a_first_model_is_loaded_does_no_harm(run, tmp_path):
    path = tmp_path / "model.safetensors"
    small_cpc().fit(rising_tones(8)).save(path)
    code = """
try:
    load(sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", press.pressed)
print(load(sys.argv[1]).fit(clips).n_iter_)
"""
    assert run(PRESS + code, path).split() == ["interrupted", "True", "1"]


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_waits_for_the_end_of_imports():
    done = []

    def work():
        with note_interrupts(hold=True):
            signal.raise_signal(signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_is_not_lost_if_an_import_fails():
    def fail():
        with note_interrupts(hold=True):
            signal.raise_signal(signal.SIGINT)
            raise ImportError

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c")
def test_handlers_stay_where_no_ctrl_c_comes():
    with note_interrupts(hold=True):
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with note_interrupts(hold=True):
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
