"""Audio features learned from your own recordings, as scikit-learn estimators."""

from ._version import __version__
from .audio.clips import Clip, sample_clips
from .autoencoder import AutoencoderReducer
from .cpc import CPCTransformer
from .mfcc import MFCCTransformer
from .nn.autoregressors import AttentionContext, GRUContext
from .nn.encoders import Conv1dEncoder, Conv2dEncoder
from .nn.loss import info_nce
from .probe import LinearProbe

__all__ = [
    "AttentionContext",
    "AutoencoderReducer",
    "CPCTransformer",
    "Clip",
    "Conv1dEncoder",
    "Conv2dEncoder",
    "GRUContext",
    "LinearProbe",
    "MFCCTransformer",
    "__version__",
    "info_nce",
    "sample_clips",
]
