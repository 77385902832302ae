"""Audio features learned from your own recordings, as scikit-learn estimators."""

import importlib
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .audio.clips import Clip, sample_clips
    from .autoencoder import AutoencoderReducer
    from .configurations import make_cpc
    from .cpc import CPCTransformer
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
    "info_nce",
    "load",
    "make_cpc",
    "sample_clips",
    "save",
]

_MODULES = """
    audio.clips autoencoder configurations cpc mfcc nn.augmentation nn.autoregressors nn.encoders
    nn.logmel_encoder nn.objective persistence probe training.checkpoint training.monitor
"""


def __getattr__(name):
    """Import all public names when the first is used: torch takes seconds, which help and folders need not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in [importlib.import_module(f".{module}", __name__) for module in _MODULES.split()]:
        globals().update({known: getattr(module, known) for known in __all__ if hasattr(module, known)})
    return globals()[name]


def __dir__():
    return sorted({*globals(), *__all__})
