"""
DataFrames, frozen features and diagrams
========================================

What scikit-learn offers for its own estimators works here too: ``set_output``,
``FrozenEstimator`` and the HTML representation.
"""

# %%
# Names of features
# -----------------
# With ``set_output``, features come as a DataFrame of pandas or polars. Their names
# say which estimator made them.

from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import MFCCTransformer, make_cpc
from sklearn_cpc.datasets import make_synthetic_corpus

scratch = TemporaryDirectory()  # removed at the end of the session
corpus = make_synthetic_corpus(
    scratch.name, n_per_class=5, duration=2.0, random_state=0
)
cpc = make_cpc(max_epochs=4, random_state=0).set_output(transform="polars")
features = cpc.fit_transform(corpus.paths)
features.select(features.columns[:4]).head(3)

# %%
# In pandas:

MFCCTransformer(3).set_output(transform="pandas").fit_transform(
    corpus.paths[:3]
).astype(float).round(1)

# %%
# Train once, tune the classifier
# -------------------------------
# A grid search would train the network anew for every candidate and fold.
# ``FrozenEstimator`` keeps a fitted one as it is. That is right if the network was
# trained without labels and, as here, on recordings that are no part of any test.

test = corpus.groups == "5"
paths, y = np.array(corpus.paths), corpus.target
cpc = make_cpc(max_epochs=4, random_state=0).fit(paths[~test])
pipe = make_pipeline(
    FrozenEstimator(cpc), StandardScaler(), LogisticRegression(max_iter=1000)
)
search = GridSearchCV(
    pipe, {"logisticregression__C": [0.001, 0.01, 0.1, 1.0]}, cv=3
).fit(paths[~test], y[~test])
print(
    search.best_params_,
    f"accuracy at a new site: {search.score(paths[test], y[test]):.2f}",
)

results = search.cv_results_
figure, axes = plt.subplots(figsize=(5, 2.5), layout="constrained")
axes.errorbar(
    results["param_logisticregression__C"].astype(float),
    results["mean_test_score"],
    results["std_test_score"],
)
axes.set(xscale="log", xlabel="C", ylabel="accuracy in cross-validation")

# %%
# The folds of this search share sites, which is good enough to choose C, and the
# score above is of a site that none of them has.
#
# The diagram
# -----------
# Notebooks show estimators as below. Click a step to see its parameters; the question
# mark leads to its page on this site.

make_pipeline(make_cpc(), StandardScaler(), LogisticRegression())
