"""Corpora as folders of audio files: read your own, fetch a public one, or write a synthetic one."""

from .download import get_data_home
from .fetchers import fetch_esc50, fetch_fma_small, fetch_fsdd, fetch_gtzan
from .folder import load_audio_folder
from .recordings import list_recordings
from .synthetic import make_synthetic_corpus

__all__ = [
    "fetch_esc50",
    "fetch_fma_small",
    "fetch_fsdd",
    "fetch_gtzan",
    "get_data_home",
    "list_recordings",
    "load_audio_folder",
    "make_synthetic_corpus",
]
