"""Networks and losses, in torch alone: front ends, encoders, autoregressors, objective, augmentation, pooling."""
