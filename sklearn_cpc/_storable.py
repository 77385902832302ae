"""What can be stored: the classes whose estimators :func:`save` writes, and what each of them consists of.

Nothing else is loaded. A parameter or fitted attribute that is new in a class is added here.
"""

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from ._parameters import check_training_parameters
from .autoencoder import Autoencoder, AutoencoderReducer
from .cpc import CPCTransformer
from .mfcc import MFCCTransformer
from .nn.augmentation import Augmentation
from .nn.autoregressors import AttentionContext
from .nn.encoders import Conv1dEncoder
from .nn.logmel_encoder import LogMelEncoder
from .nn.network import AUTOREGRESSORS, ENCODERS, CPCNetwork, sample_rate_of
from .nn.pooling import check_pooling
from .persistence._attributes import Array, Derived, Flag, History, Labels, Names, Output, Random, Whole
from .persistence._forms import FORMS, EstimatorForm, Part, PipelineForm
from .persistence._network import Network
from .persistence._parameters import RECIPES, NameOrRecipe, Nothing, Parameter, Parameters
from .probe import LinearProbe, Probe
from .training.clip_geometry import ClipShape

# Sizes that no array in the file vouches for: a network is built only within them.
MAX_CLIP = 2**28  # samples: an hour and a half at 48 kHz
MAX_BANDS = 2**12
MAX_FILTERS = 2**22  # mel bands times samples of a window
MAX_LAYERS = 100  # of an autoregressor

NONE = type(None)
OWN_CODE = "Modules and functions of your own are code, which these files do not hold: use recipes"
NO_CALLBACKS = "They matter in training alone: set_params(callbacks=None) before you save"

flag = Parameter(bool, int)
whole = Parameter(int)
number = Parameter(int, float)
text = Parameter(str)
whole_or_none = Parameter(int, NONE)
number_or_none = Parameter(int, float, NONE)
layers = Parameter(int, entries=(int,))
levels = Parameter(NONE, entries=(int, float))
seed = Parameter(int, NONE, advice="set_params(random_state=0), for example, before you save")
weights = Parameter(str, dict, NONE)

PARAMETERS = {
    **dict.fromkeys(("dual", "fit_intercept", "standardize", "verbose", "warm_start"), flag),
    **dict.fromkeys(("copy", "with_mean", "with_std"), flag),
    **dict.fromkeys(
        ("batch_size", "checkpoint_every", "max_epochs", "max_iter", "n_components", "n_context", "n_future"),
        whole,
    ),
    **dict.fromkeys(("c_dim", "dff", "n_heads", "n_layers", "z_dim"), whole),
    **dict.fromkeys(("hop_length", "n_fft", "n_mels", "n_mfcc", "sample_rate"), whole),
    **dict.fromkeys(("clip_duration", "dropout", "lr", "validation_fraction"), number),
    **dict.fromkeys(("C", "intercept_scaling", "tol"), number),
    **dict.fromkeys(("band_smoothing", "dynamic_range", "time_smoothing", "window_duration"), number),
    **dict.fromkeys(("band_mask", "equalization", "gain", "pitch", "reverb", "time_mask"), number),
    **dict.fromkeys(("negatives", "on_error", "predict_from", "similarity", "step_weights"), text),
    **dict.fromkeys(("device", "multi_class", "precision", "schedule", "solver"), text),
    **dict.fromkeys(("n_across", "projection"), whole_or_none),
    **dict.fromkeys(("centring", "l1_ratio", "temperature", "trim"), number_or_none),
    **dict.fromkeys(("dense_units", "n_filters"), layers),
    **dict.fromkeys(("decoder_units", "encoder_units", "kernel_sizes", "strides"), layers),
    **dict.fromkeys(("mixing", "noise"), levels),
    "augmentation": Parameter(Augmentation, NONE, advice=OWN_CODE),
    "autoregressor": NameOrRecipe(AUTOREGRESSORS, advice=OWN_CODE),
    "callbacks": Nothing(advice=NO_CALLBACKS),
    "class_weight": weights,
    "encoder": NameOrRecipe(ENCODERS, advice=OWN_CODE),
    "n_clips": Parameter(int, NONE, at_most=2**20),
    "n_jobs": Parameter(int, NONE, at_most=2**10),
    "penalty": Parameter(str, NONE),
    "pooling": Parameter(str, entries=(str,)),
    "random_state": seed,
    "transform_input": Parameter(NONE, entries=(str,)),
}


# Networks, built without running them: the sizes of their inputs are only numbers in a file


def cpc_network(cpc):
    """Build the network of a CPCTransformer."""
    encoder, autoregressor = recipe(cpc.encoder, ENCODERS), recipe(cpc.autoregressor, AUTOREGRESSORS)
    check_spectrogram(encoder)
    check_at_most(MAX_LAYERS, "n_layers", autoregressor.n_layers)
    single = isinstance(autoregressor, AttentionContext)
    if single and cpc.predict_from == "all":
        raise ValueError("predict_from='all' needs another autoregressor than AttentionContext")
    network = CPCNetwork(
        encoder(n_samples(cpc), cpc.n_context + cpc.n_future),
        autoregressor(encoder.z_dim, cpc.n_context),
        cpc.n_context,
        cpc.n_future,
        encoder.z_dim,
        autoregressor.dense_units[-1] if single else autoregressor.c_dim,
        single,
        cpc.predict_from,
        cpc.projection,
        None if cpc.augmentation is None else cpc.augmentation(encoder.sample_rate),
    )
    check_pooling(cpc.pooling, network, cpc.encoder, cpc.autoregressor)
    return network


def recipe(value, known):
    """Return the recipe that a parameter is or names."""
    return known[value]() if isinstance(value, str) else value


def n_samples(cpc):
    """Count the samples of a clip."""
    count = cpc.clip_duration * sample_rate_of(cpc.encoder)
    check_at_most(MAX_CLIP, "clip_duration in samples", count)
    return round(count)


def check_spectrogram(encoder):
    """Raise if the mel filters of an encoder would be unreasonably large; they are computed, not stored."""
    if isinstance(encoder, Conv1dEncoder):
        return
    window = encoder.window_duration * encoder.sample_rate if isinstance(encoder, LogMelEncoder) else encoder.n_fft
    check_at_most(MAX_BANDS, "n_mels", encoder.n_mels)
    check_at_most(MAX_FILTERS, "n_mels times samples of a window", encoder.n_mels * window)


def check_at_most(limit, name, size):
    """Raise if a size is above its limit."""
    if not size <= limit:
        raise ValueError(f"{name} is {size:g}, more than the {limit} that a file may ask for")


def autoencoder(reducer):
    """Build the network of an AutoencoderReducer."""
    layers = reducer.encoder_units, reducer.n_components, reducer.decoder_units
    return Autoencoder(reducer.n_features_in_, *layers, reducer.dropout)


def probe(classifier):
    """Build the network of a LinearProbe."""
    return Probe(classifier.n_features_in_, len(classifier.classes_), classifier.dropout)


# What follows from other attributes


def clip_shape(cpc):
    """How clips are laid out, as ``fit`` did."""
    return ClipShape.of(cpc.network_.encoder, n_samples(cpc), cpc.n_context + cpc.n_future)


def n_epochs(estimator):
    """Epochs trained."""
    return len(estimator.history_)


def n_logits(classifier):
    """Count the outputs of a linear classifier: one is enough for two classes."""
    n_classes = len(classifier.classes_)
    return 1 if n_classes == 2 else n_classes


# Forms

FEATURES = {"n_features_in_": Whole(1), "feature_names_in_": Names(optional=True)}
SAMPLES = {"n_features_in_": Whole(1, optional=True), "feature_names_in_": Names(optional=True)}
TRAINING = {
    "history_": History(),
    "n_iter_": Derived(n_epochs),
    "interrupted_": Flag(optional=True),
    "_random": Random(optional=True),
}
OUTPUT = {"_sklearn_output_config": Output(optional=True)}
PER_FEATURE = Array(lambda scaler: (scaler.n_features_in_,))

SCALER = EstimatorForm(
    Parameters(StandardScaler, PARAMETERS, changed_only=True),
    {
        **FEATURES,
        **dict.fromkeys(("mean_", "var_", "scale_"), PER_FEATURE),
        "n_samples_seen_": Array(lambda scaler: (), lambda scaler: (scaler.n_features_in_,)),
        **OUTPUT,
    },
)
LOGISTIC_REGRESSION = EstimatorForm(
    Parameters(LogisticRegression, PARAMETERS, changed_only=True),
    {
        **FEATURES,
        "classes_": Labels(),
        "coef_": Array(lambda classifier: (n_logits(classifier), classifier.n_features_in_)),
        "intercept_": Array(lambda classifier: (n_logits(classifier),)),
        "n_iter_": Array(lambda classifier: (1,), lambda classifier: (len(classifier.classes_),)),
    },
)
CPC = EstimatorForm(
    Parameters(CPCTransformer, PARAMETERS, dropped=("memory", "checkpoint")),
    {
        **SAMPLES,
        **TRAINING,
        "_split_seed": Whole(0, optional=True),
        "network_": Network(cpc_network),
        "_clip_shape": Derived(clip_shape),
        "sample_rate_": Derived(lambda cpc: sample_rate_of(cpc.encoder)),
        **OUTPUT,
    },
    check=CPCTransformer._check,
)
REDUCER = EstimatorForm(
    Parameters(AutoencoderReducer, PARAMETERS),
    {**FEATURES, "scaler_": Part(SCALER), **TRAINING, "network_": Network(autoencoder), **OUTPUT},
    check=AutoencoderReducer._check,
)
PROBE = EstimatorForm(
    Parameters(LinearProbe, PARAMETERS),
    {**FEATURES, "classes_": Labels(), "scaler_": Part(SCALER), **TRAINING, "network_": Network(probe)},
    check=check_training_parameters,
)
MFCC = EstimatorForm(
    Parameters(MFCCTransformer, PARAMETERS, dropped=("memory",)),
    {**SAMPLES, "_n_features_out": Derived(lambda mfcc: 2 * mfcc.n_mfcc), **OUTPUT},
)
PIPELINE = PipelineForm(Parameters(Pipeline, PARAMETERS, dropped=("memory", "steps")))

CLASSES = *ENCODERS.values(), *AUTOREGRESSORS.values(), Augmentation
RECIPES.update({cls.__name__: Parameters(cls, PARAMETERS) for cls in CLASSES})
FORMS.update(
    {form.cls.__name__: form for form in (CPC, REDUCER, PROBE, MFCC, PIPELINE, SCALER, LOGISTIC_REGRESSION)}
)
