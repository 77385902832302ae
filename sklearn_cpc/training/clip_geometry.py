"""Clip geometry: how recordings are cut into clips, and which steps of a clip hold sound."""

from typing import NamedTuple

import numpy as np

LONG_CLIP = 20  # clips' worth of sound that is embedded in one piece, if the network takes any length


class ClipShape(NamedTuple):
    """How clips are laid out for a network.

    If the encoder takes clips of any number of steps, batches are cut to the longest of their clips, so that
    the network gets no more padding than it needs.
    """

    n_samples: int  # of a full clip; shorter recordings are padded with zeros at the end
    n_steps: int  # of a full clip
    samples_per_step: int | None = None  # of an encoder that takes any number of steps
    lookahead: int = 0  # steps after its own that an embedding depends on

    @classmethod
    def for_network(cls, network):
        """Shape for a CPCNetwork: any length if its encoder has ``samples_per_step``, full clips if not."""
        n_steps = network.n_context + network.n_future
        samples_per_step = getattr(network.encoder, "samples_per_step", None)
        if samples_per_step is None:
            return cls(network.n_samples, n_steps)
        # A clip of a fraction of a step more would let steps and samples drift apart.
        lookahead = getattr(network.encoder, "lookahead", 0)
        return cls(n_steps * samples_per_step, n_steps, samples_per_step, lookahead)

    def for_embedding(self, network, layers):
        """Shape in which a network embeds recordings: longer clips, if these layers take any length."""
        recurrent = getattr(network.autoregressor, "takes_any_length", False)
        if self.samples_per_step is None or "context" in layers or ("c" in layers and not recurrent):
            return self
        n_steps = LONG_CLIP * self.n_steps
        return self._replace(n_samples=n_steps * self.samples_per_step, n_steps=n_steps)

    def count_full(self, samples):
        """Count the full clips that fit into a recording; a short recording counts as one."""
        return max(1, len(samples) // self.n_samples)

    def count_valid(self, n_samples):
        """Count the steps that are at least half filled when the first ``n_samples`` of clips hold sound."""
        filled = np.floor(np.asarray(n_samples) * self.n_steps / self.n_samples + 0.5).astype(np.int64)
        return np.clip(filled, 1, self.n_steps)

    def count_needed(self, n_valid):
        """Count the samples that decide the embeddings of the first ``n_valid`` steps."""
        if self.samples_per_step is None:
            return self.n_samples
        # At least two steps, or there is nothing to predict.
        return min(self.n_samples, max(2, n_valid + self.lookahead) * self.samples_per_step)

    def lay_out(self, length, n_clips=None, *, overlap=True):
        """Lay clips over a recording of ``length`` samples, on the grid of its steps.

        ``n_clips`` are spread evenly, a single one in the middle. None: clips end to end, the last moved back to
        be full. Without ``overlap``, the last one stays in its place, and there are as many as fit at most.

        Returns the first step of each clip, how many of its steps an earlier clip holds too, and its valid steps.
        """
        n_total = max(1, int(length * self.n_steps / self.n_samples + 0.5))  # of at least half a step of sound
        last = max(0, n_total - self.n_steps)
        if n_clips is None:
            first = np.arange(0, n_total, self.n_steps)
            first = np.minimum(first, last) if overlap else first
        else:
            n_clips = n_clips if overlap else min(n_clips, max(1, n_total // self.n_steps))
            spread = np.linspace(0, last, n_clips) if n_clips > 1 else np.array([last // 2])
            first = np.unique(spread.round().astype(int))
        n_shared = np.maximum(0, np.append(0, first[:-1] + self.n_steps - first[1:]))
        return first, n_shared, np.minimum(n_total - first, self.n_steps)
