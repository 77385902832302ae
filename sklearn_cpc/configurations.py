"""Named configurations of CPCTransformer: the recommended ones, and the three of the report."""

from sklearn.base import clone
from sklearn.utils._param_validation import StrOptions

from ._constraints import check_parameters
from .cpc import CPCTransformer
from .nn.augmentation import Augmentation
from .nn.autoregressors import LSTMContext
from .nn.logmel_encoder import LogMelEncoder
from .nn.objective import InfoNCE

SMALL_CORPUS: dict = {
    "autoregressor": LSTMContext(c_dim=256),
    "clip_duration": 1.0,
    "trim": 40,
    "n_context": 44,
    "n_future": 6,
    "objective": InfoNCE(negatives="mixed", n_across=64, similarity="cosine", predict_from="all"),
    "max_epochs": "auto",
    "batch_size": 32,
    "lr": 1e-3,
    "schedule": "cosine",
}
CONFIGURATIONS = {
    "small-corpus": CPCTransformer(
        LogMelEncoder(centring=1.0),
        augmentation=Augmentation(noise=(10, 40), mixing=(5, 20)),
        pooling=("mel_mean", "mel_std", "mel_max", "z_max", "c_max"),
        **SMALL_CORPUS,
    ),
    "speech": CPCTransformer(
        LogMelEncoder(centring=0.5),
        pooling=("centred_mean", "centred_max", "z_max", "c_max"),
        **SMALL_CORPUS,
    ),
    "report-conv1d-gru": CPCTransformer("conv1d", "gru"),
    "report-conv1d-attention": CPCTransformer("conv1d", "attention"),
    "report-conv2d-gru": CPCTransformer("conv2d", "gru"),
}


@check_parameters(configuration=[StrOptions(set(CONFIGURATIONS))])
def make_cpc(configuration="small-corpus", **parameters):
    """Return a CPCTransformer in a named configuration.

    It is an ordinary estimator, to be fitted, tuned and put into pipelines like any other. The name
    only stands for the values of its parameters.

    Parameters
    ----------
    configuration : str, default="small-corpus"
        "small-corpus" is for minutes to hours of recordings of any kind, on a laptop. "speech" is the same
        for single words or syllables, cut tightly and recorded up close, by any speaker; see the study in the
        user guide.
        "report-conv1d-gru", "report-conv1d-attention" and "report-conv2d-gru" are the report's three
        models, meant for days of audio.
    **parameters
        Parameters of :class:`CPCTransformer` to override, also nested ones such as
        ``encoder__sample_rate=44100``.

    Returns
    -------
    CPCTransformer

    Raises
    ------
    ValueError
        If the name or a parameter is unknown.

    Examples
    --------
    >>> from sklearn_cpc import make_cpc
    >>> cpc = make_cpc(encoder__sample_rate=22050, random_state=0)
    >>> cpc.objective.negatives, cpc.encoder.sample_rate
    ('mixed', 22050)
    """
    return clone(CONFIGURATIONS[configuration]).set_params(**parameters)
