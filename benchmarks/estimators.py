"""AutoencoderReducer and LinearProbe on as many embeddings as the report's, against bare loops."""

import numpy as np
import torch
from timing import best
from torch import nn

from sklearn_cpc import AutoencoderReducer, LinearProbe
from sklearn_cpc.autoencoder import Autoencoder
from sklearn_cpc.nn.batches import TensorBatches
from sklearn_cpc.probe import Probe


def bench_estimators(rounds, n_rows=90_000, n_features=512):
    """`fit` for one epoch over 90,000 embeddings of 512 features, against a loop that trains the same network.

    The loop is given standardised tensors, and has the same batches; once with Adam as torch has it by default,
    and once with all weights updated in one pass, as `fit` does it.
    """
    random = np.random.default_rng(0)
    X = random.standard_normal((n_rows, n_features)).astype(np.float32)
    y = random.integers(0, 10, n_rows)
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)
    how = {"max_epochs": 1, "random_state": 0, "device": "cpu"}
    probe, reducer = LinearProbe(**how), AutoencoderReducer(**how)
    units = reducer.encoder_units, reducer.n_components, reducer.decoder_units, reducer.dropout
    rivals = [
        (reducer, Autoencoder(n_features, *units), rows, nn.MSELoss()),
        (probe, Probe(n_features, 10, probe.dropout), labels, nn.CrossEntropyLoss()),
    ]
    results = []
    for estimator, network, targets, criterion in rivals:

        def bare(fused, network=network, targets=targets, criterion=criterion):
            optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=fused)
            for inputs, wanted in TensorBatches(rows, targets, 32):
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
                "epoch (s)": times["ours"],
                "epochs by default": type(estimator)().max_epochs,
                "more than a bare loop": times["ours"] / times["plain"] - 1,
                "than one with fused Adam": times["ours"] / times["fused"] - 1,
            }
        )
    return results
