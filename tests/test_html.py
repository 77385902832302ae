"""The HTML representation of estimators in a notebook: where its links lead."""

import re

import pytest
from corpus import rising_tones, small_cpc
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_cpc
from sklearn_cpc import CPCTransformer, LinearProbe

SITE = "https://sklearn-cpc.readthedocs.io/stable/api/sklearn_cpc"
CLASSES = [
    name
    for name in sklearn_cpc.__all__
    if isinstance(getattr(sklearn_cpc, name), type) and issubclass(getattr(sklearn_cpc, name), BaseEstimator)
]


def pages(estimator):
    """Pages that the representation links to, without the places in them."""
    return {link.partition("#")[0] for link in re.findall(r'href="(https:[^"]*)"', estimator._repr_html_())}


@pytest.mark.parametrize("name", CLASSES)
def test_representation_links_to_the_page_of_the_class(name):
    arguments = ["trainings"] if name == "Checkpoint" else []
    assert f"{SITE}.{name}.html" in pages(getattr(sklearn_cpc, name)(*arguments))


def test_fitted_estimator_links_to_the_page_of_its_class():
    assert f"{SITE}.CPCTransformer.html" in pages(small_cpc().fit(rising_tones(8)))


def test_each_step_of_a_pipeline_links_to_its_own_site():
    found = pages(make_pipeline(CPCTransformer(), StandardScaler(), LinearProbe()))
    assert {f"{SITE}.CPCTransformer.html", f"{SITE}.LinearProbe.html"} <= found
    scaler = [page for page in found if page.endswith("StandardScaler.html")]
    assert len(scaler) == 1
    assert scaler[0].startswith("https://scikit-learn.org/")


def test_class_of_a_user_links_to_no_page_of_this_site():
    class Own(CPCTransformer):
        pass

    assert [page for page in pages(Own()) if page.startswith(SITE) and "Own" in page] == []
