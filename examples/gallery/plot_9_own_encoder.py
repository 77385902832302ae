"""
Your own encoder
================

Replace the encoder by a network of your own, and give it parameters that a grid
search can tune.
"""

# %%
# A recipe
# --------
# A recipe is a scikit-learn estimator that builds a module when it is called with the
# number of samples and of steps of a clip. It has an attribute ``sample_rate``.
# :class:`~sklearn_cpc.nn.encoders.PerWindow` cuts the clip into steps and applies a
# network to each. This one is two convolutions over raw samples.

from tempfile import TemporaryDirectory

from IPython.display import Audio
from sklearn.base import BaseEstimator, clone
from torch import nn

from sklearn_cpc import CPCTransformer, GRUContext, InfoNCE
from sklearn_cpc.datasets import make_synthetic_corpus
from sklearn_cpc.displays import LossCurveDisplay
from sklearn_cpc.evaluation import compare_representations
from sklearn_cpc.nn.encoders import PerWindow


class WaveEncoder(BaseEstimator):
    """Two convolutions over the samples of each step, and the maximum over its time."""

    def __init__(self, width=32, sample_rate=8000):
        self.width = width
        self.sample_rate = sample_rate

    def __call__(self, n_samples, n_steps):
        """Build the network."""
        layers = [
            nn.Conv1d(1, self.width, 40, stride=8),
            nn.GELU(),
            nn.Conv1d(self.width, self.width, 8, stride=4),
            nn.AdaptiveMaxPool1d(1),
            nn.Flatten(),
        ]
        return PerWindow(nn.Sequential(*layers), n_steps)


# %%
# Shapes are checked before training. An error shows the actual and the expected
# shape.

print(WaveEncoder()(n_samples=8000, n_steps=20))

# %%
# Train it
# --------

scratch = TemporaryDirectory()  # removed at the end of the session
corpus = make_synthetic_corpus(
    scratch.name, n_per_class=6, n_groups=3, duration=2.0, random_state=0
)
Audio(corpus.paths[0])

# %%

cpc = CPCTransformer(
    WaveEncoder(),
    GRUContext(c_dim=64),
    clip_duration=1.0,
    n_context=17,
    n_future=3,
    objective=InfoNCE(negatives="mixed", similarity="cosine", predict_from="all"),
    pooling=("z_mean", "z_max", "c_max"),
    max_epochs=8,
    batch_size=32,
    lr=1e-3,
    random_state=0,
).fit(corpus.paths)
LossCurveDisplay.from_estimator(cpc)

# %%
# Is it any good?
# ---------------
# A loss that falls does not make good features. Compare with MFCCs and with the
# untrained twin, by site.

table = compare_representations(
    {"own encoder": cpc}, corpus.paths, corpus.target, groups=corpus.groups
)
table[["mean", "gain", "gain_low", "gain_high"]].astype(float).round(2)

# %%
# The width is a parameter like any other, in a grid ``{"encoder__width": [32, 64]}``.

print(clone(cpc).set_params(encoder__width=64).encoder)

# %%
# To use such a class with ``n_jobs``, or to pickle it, define it in a file that can
# be imported. :doc:`/your-own-module` has the rules for encoders and autoregressors,
# and the sizes that they are called with.
