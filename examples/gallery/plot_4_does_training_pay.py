"""
Why training may not pay
========================

A network with random weights is a strong baseline. Compare with it before you spend
hours on training: in the same folds, with an interval for the gain, and with as few
labels as you have.
"""

# %%
# The untrained twin
# ------------------
# Filters, mel bands and maxima over time describe sounds well before anything is
# learned. :func:`~sklearn_cpc.evaluation.compare_representations` adds three rows to
# yours: chance, MFCCs, and the same network with its initial weights.

from tempfile import TemporaryDirectory

from IPython.display import Audio

from sklearn_cpc import make_cpc
from sklearn_cpc.datasets import make_synthetic_corpus
from sklearn_cpc.displays import LabelEfficiencyDisplay
from sklearn_cpc.evaluation import compare_representations, label_efficiency

scratch = TemporaryDirectory()  # removed at the end of the session
corpus = make_synthetic_corpus(
    scratch.name, n_per_class=9, n_groups=3, duration=1.0, random_state=0
)
cpc = make_cpc(max_epochs=8)
table = compare_representations(
    {"cpc": cpc}, corpus.paths, corpus.target, groups=corpus.groups
)
table[
    [
        "mean",
        "difference",
        "difference_low",
        "difference_high",
        "gain",
        "gain_low",
        "gain_high",
    ]
].round(2)

# %%
# ``difference`` is that from MFCCs, and ``gain`` that from the untrained network,
# both with a 95 % interval. **If** ``gain_low`` **is below zero, these data do not
# show that training helps.** Three folds of a small corpus rarely show it. Then there
# are three ways on:
#
# - Use ``make_cpc(max_epochs=0)``. It is instant, and often better than MFCCs.
# - Add recordings: ``unlabelled=`` takes those without labels.
# - Ask for more evidence: more folds, or ``n_seeds=3``.
#
# On real recordings, training gained most where the same sounds come from other
# speakers or players, and little on environmental sounds: see :doc:`/evidence`.
#
# What MFCCs cannot tell apart
# ----------------------------
# Averaged over time, a rising and a falling sweep look the same to MFCCs. A siren and
# an alarm:

Audio(corpus.paths[corpus.target.tolist().index("siren")])

# %%

Audio(corpus.paths[corpus.target.tolist().index("alarm")])

# %%
# Few labels
# ----------
# With few labels, better features show more clearly. Each network is trained on all
# training recordings without labels. Only the classifier sees labels: those of 1, 2
# or all recordings of each class.

efficiency = label_efficiency(
    {"cpc": cpc},
    corpus.paths,
    corpus.target,
    groups=corpus.groups,
    n_labels=(1, 2, None),
    n_draws=3,
)
LabelEfficiencyDisplay.from_table(efficiency)

# %%
# Dashed is the untrained network. The distance between the two lines, and not that to
# MFCCs, is what training is worth.

efficiency["mean"].unstack("representation").round(2)
