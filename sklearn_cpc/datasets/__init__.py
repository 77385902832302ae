"""Corpora kept as folders of audio files: read one of yours, or write a synthetic one to try things on."""

from ._folder import load_audio_folder
from ._synthetic import make_synthetic_corpus

__all__ = ["load_audio_folder", "make_synthetic_corpus"]
