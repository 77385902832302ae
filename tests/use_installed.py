"""Use the package as a first program does, where only its wheel is installed; `make wheel-check` runs this."""

import tempfile
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import sklearn_cpc
from sklearn_cpc import load, make_cpc
from sklearn_cpc.datasets import make_synthetic_corpus


def main():
    package = Path(sklearn_cpc.__file__).parent
    assert "site-packages" in package.parts, package
    assert all((package / name).is_file() for name in ("py.typed", "displays/map.html", "displays/map.js"))
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_synthetic_corpus(folder, n_per_class=3, duration=2.0, random_state=0)
        cpc = make_cpc(max_epochs=1, random_state=0)
        classifier = make_pipeline(cpc, LogisticRegression(max_iter=1000)).fit(corpus.paths, corpus.target)
        assert classifier.score(corpus.paths, corpus.target) > 0.5
        classifier[0].save(f"{folder}/model.safetensors")
        again = load(f"{folder}/model.safetensors")
        assert (again.transform(corpus.paths) == classifier[0].transform(corpus.paths)).all()
    print(f"sklearn_cpc {sklearn_cpc.__version__} works from {package}")


if __name__ == "__main__":
    main()
