"""Clip geometry: how recordings are cut into clips, and which steps of a clip hold sound."""

from typing import NamedTuple

import numpy as np
import torch

N_CLIPS_EMBEDDED = 20  # clips' worth of a recording that are embedded in one piece, where it can be


class ClipShape(NamedTuple):
    """How clips are laid out for a network.

    A network whose encoder takes clips of any number of steps is not given more padding than it needs:
    batches are cut after the longest of their clips.
    """

    n_samples: int  # of a whole clip; shorter recordings are padded with zeros at the end
    n_steps: int  # of a whole clip
    samples_per_step: int | None = None  # of an encoder that takes any number of steps
    lookahead: int = 0  # steps after its own that an embedding depends on

    @classmethod
    def of(cls, encoder, n_samples, n_steps):
        """Shape for an encoder: any length if it has ``samples_per_step``, whole clips if not."""
        samples_per_step = getattr(encoder, "samples_per_step", None)
        if samples_per_step is None:
            return cls(n_samples, n_steps)
        # Whole steps, or steps and samples would drift apart.
        return cls(n_steps * samples_per_step, n_steps, samples_per_step, getattr(encoder, "lookahead", 0))

    def for_embedding(self, network, layers):
        """Return the shape in which a network embeds whole recordings: longer, if these layers take any length."""
        recurrent = getattr(network.autoregressor, "takes_any_length", False)
        if self.samples_per_step is None or "context" in layers or ("c" in layers and not recurrent):
            return self
        n_steps = N_CLIPS_EMBEDDED * self.n_steps
        return self._replace(n_samples=n_steps * self.samples_per_step, n_steps=n_steps)

    def n_whole(self, samples):
        """Count the whole clips that fit into a recording; a short one counts as one."""
        return max(1, len(samples) // self.n_samples)

    def stack(self, pieces, dtype):
        """Copy clips into one tensor.

        Parameters
        ----------
        pieces : list of (samples, start)
            Recordings, and where in them the clips begin.
        dtype : numpy dtype

        Returns
        -------
        clips : Tensor of shape (batch, n_samples), or shorter
        n_valid : int Tensor of shape (batch,)
            Steps of each clip that hold sound.
        """
        lengths = [min(len(samples) - start, self.n_samples) for samples, start in pieces]
        n_valid = n_sounding(lengths, self.n_samples, self.n_steps)
        clips = np.empty((len(pieces), self.needed(n_valid.max())), dtype)
        for (samples, start), clip in zip(pieces, clips, strict=True):
            cut(samples, start, len(clip), clip)
        return torch.from_numpy(clips), torch.from_numpy(n_valid)

    def needed(self, n_valid):
        """Count the samples that decide the embeddings of the first ``n_valid`` steps."""
        if self.samples_per_step is None:
            return self.n_samples
        # Two steps at least, or there is nothing to predict.
        return min(self.n_samples, max(2, n_valid + self.lookahead) * self.samples_per_step)


def n_clips_to_cover(length, clip):
    """Clips needed to cover ``length`` samples with clips of ``clip`` samples, at least 1."""
    return max(1, -(-length // clip))


def even_starts(length, clip, n_clips=None):
    """Spread clips evenly from the beginning to the end, one clip in the middle; returns their starts.

    None: as many as cover all.
    """
    n_clips = n_clips_to_cover(length, clip) if n_clips is None else n_clips
    last = max(0, length - clip)
    return np.array([last // 2]) if n_clips == 1 else np.linspace(0, last, n_clips).round().astype(int)


def cut(samples, start, clip, out):
    """Copy the clip of ``clip`` samples that begins at ``start`` to ``out``, zeros after the end.

    Returns the number of samples copied.
    """
    piece = samples[start : start + clip]
    out[: len(piece)] = piece
    out[len(piece) :] = 0
    return len(piece)


def n_sounding(n_samples, clip, n_steps):
    """Count the steps of a clip that hold sound when its first ``n_samples`` do: those at least half filled."""
    filled = np.floor(np.asarray(n_samples) * n_steps / clip + 0.5).astype(np.int64)
    return np.clip(filled, 1, n_steps)
