"""Save a fitted pipeline, load it in another process and get the same probabilities from it.

    python examples/persistence.py

The file holds numbers and text, but no code, so you can also load files from other people.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.pipeline import Pipeline

from sklearn_cpc import AutoencoderReducer, Conv1dEncoder, CPCTransformer, LinearProbe, save
from sklearn_cpc.datasets import make_synthetic_corpus

LOAD = """
import sys, numpy, sklearn_cpc
pipeline, paths = sklearn_cpc.load(sys.argv[1]), sys.argv[3:]
numpy.save(sys.argv[2], pipeline.predict_proba(paths))
"""


def main():
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        corpus = make_synthetic_corpus(scratch / "corpus", n_per_class=2, random_state=0)
        pipeline = Pipeline(
            [
                ("cpc", CPCTransformer(Conv1dEncoder(n_filters=64), max_epochs=1, random_state=0)),
                ("ae", AutoencoderReducer(random_state=0)),
                ("clf", LinearProbe(random_state=0)),
            ]
        ).fit(corpus.paths, corpus.target)
        expected = pipeline.predict_proba(corpus.paths)

        file = scratch / "pipeline.safetensors"
        save(pipeline, file)
        weights = sum(
            tensor.nbytes
            for step in pipeline.named_steps.values()
            for tensor in step.network_.state_dict().values()
        )
        print(f"{file.stat().st_size / 1e6:.1f} MB on disk for {weights / 1e6:.1f} MB of weights")

        arguments = [str(file), str(scratch / "probabilities.npy"), *corpus.paths]
        subprocess.run([sys.executable, "-c", LOAD, *arguments], check=True)
        same = np.array_equal(expected, np.load(scratch / "probabilities.npy"))
        print("another process computed", "the same probabilities" if same else "other probabilities")
        if not same:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
