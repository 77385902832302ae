"""The front end: log-mel spectrograms, against librosa's."""

import librosa
import numpy as np
import torch
from timing import best

from sklearn_cpc.nn.frontends import LogMel

FRAMES = [
    ("librosa's defaults", 22050, 2048, 512, 128),
    ("LogMelEncoder", 16000, 512, 160, 64),
    ("Conv2dEncoder", 22050, 2048, 46, 64),
]


def bench_front_end(rounds):
    """Log-mel spectrograms of a batch of 8 clips of 4 s, against librosa's, clip by clip.

    With the report's hop of 46 samples, Fourier transforms of 2048 samples take most of the time.
    """
    return [compare(name, rounds, *frames) for name, *frames in FRAMES]


def compare(name, rounds, rate, n_fft, hop, n_mels):
    """Time both and measure their difference."""
    clips = 0.1 * np.random.default_rng(0).standard_normal((8, 4 * rate)).astype(np.float32)
    module, tensor = LogMel(rate, n_fft, hop, n_mels), torch.from_numpy(clips)
    how = {"sr": rate, "n_fft": n_fft, "hop_length": hop, "n_mels": n_mels, "pad_mode": "constant"}

    def ours():
        with torch.inference_mode():
            return module(tensor).numpy()

    def librosas():
        power = [librosa.feature.melspectrogram(y=clip, **how) for clip in clips]
        return np.stack([librosa.power_to_db(one, top_db=None) for one in power])

    times = best(2 * rounds, in_a_row=5, ours=ours, librosa=librosas)
    return {
        "settings": name,
        "rate (Hz)": rate,
        "FFT length, hop (samples)": f"{n_fft}, {hop}",
        "bands": n_mels,
        "ms per second of sound": 1000 * times["ours"] / 32,
        "librosa / ours": times["librosa"] / times["ours"],
        "largest difference (dB)": float(np.abs(ours() - librosas()).max()),
    }
