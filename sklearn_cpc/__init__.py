"""Audio features learned from your own recordings, as scikit-learn estimators."""

from . import _openmp  # isort: skip  # noqa: F401  # before anything imports torch
from ._version import __version__
from .audio.clips import Clip, sample_clips
from .autoencoder import AutoencoderReducer
from .configurations import make_cpc
from .cpc import CPCTransformer
from .export import export_onnx
from .mfcc import MFCCTransformer
from .nn.augmentation import Augmentation
from .nn.autoregressors import AttentionContext, CausalAttentionContext, GRUContext, LSTMContext
from .nn.encoders import Conv1dEncoder, Conv2dEncoder
from .nn.logmel_encoder import LogMelEncoder
from .nn.objective import InfoNCE, info_nce
from .persistence import load, save
from .probe import LinearProbe
from .training.checkpoint import Checkpoint
from .training.monitor import EmbeddingMonitor

__all__ = [
    "AttentionContext",
    "Augmentation",
    "AutoencoderReducer",
    "CPCTransformer",
    "CausalAttentionContext",
    "Checkpoint",
    "Clip",
    "Conv1dEncoder",
    "Conv2dEncoder",
    "EmbeddingMonitor",
    "GRUContext",
    "InfoNCE",
    "LSTMContext",
    "LinearProbe",
    "LogMelEncoder",
    "MFCCTransformer",
    "__version__",
    "export_onnx",
    "info_nce",
    "load",
    "make_cpc",
    "sample_clips",
    "save",
]
