"""AutoencoderReducer and LinearProbe on as many embeddings as in the report, against bare loops."""

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from timing import best
from torch import nn

from sklearn_cpc import AutoencoderReducer, LinearProbe
from sklearn_cpc.autoencoder import Autoencoder
from sklearn_cpc.probe import Probe
from sklearn_cpc.training.batches import TensorBatches

N_EPOCHS = 3


def bench_estimators(rounds, n_rows=90_000, n_features=512):
    """`fit` for three epochs over 90,000 embeddings of 512 features, against a loop that trains the same network.

    The loop standardises with scikit-learn's `StandardScaler` and uses the same batches. It runs once with torch's
    default Adam, and once with fused Adam, which updates all weights in one pass, as `fit` does.
    """
    random = np.random.default_rng(0)
    X = random.standard_normal((n_rows, n_features)).astype(np.float32)
    y = random.integers(0, 10, n_rows)
    labels = torch.from_numpy(y)
    how = {"max_epochs": N_EPOCHS, "random_state": 0, "device": "cpu"}
    probe, reducer = LinearProbe(**how), AutoencoderReducer(**how)
    units = reducer.encoder_units, reducer.n_components, reducer.decoder_units, reducer.dropout
    rivals = [
        (reducer, Autoencoder(n_features, *units), None, nn.MSELoss()),
        (probe, Probe(n_features, 10, probe.dropout), labels, nn.CrossEntropyLoss()),
    ]
    results = []
    for estimator, network, targets, criterion in rivals:

        def bare(fused, network=network, targets=targets, criterion=criterion):
            rows = torch.from_numpy(StandardScaler().fit_transform(X))
            optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=fused)
            for _ in range(N_EPOCHS):
                for inputs, wanted in TensorBatches(rows, rows if targets is None else targets, 32):
                    optimizer.zero_grad()
                    criterion(network(inputs), wanted).backward()
                    optimizer.step()

        times = best(
            max(1, rounds - 1),
            plain=lambda: bare(False),
            fused=lambda: bare(True),
            ours=lambda estimator=estimator: estimator.fit(X, y),
        )
        results.append(
            {
                "estimator": type(estimator).__name__,
                "s per epoch": times["ours"] / N_EPOCHS,
                "default epochs": type(estimator)().max_epochs,
                "overhead over a bare loop": times["ours"] / times["plain"] - 1,
                "overhead over a loop with fused Adam": times["ours"] / times["fused"] - 1,
            }
        )
    return results
