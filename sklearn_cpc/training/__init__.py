"""How networks are trained and applied: clips and batches, the training loop, devices, embedding."""
