"""A recording is embedded clip after clip, as if it were alone."""

import numpy as np
import pytest
import torch

from sklearn_cpc import (
    AttentionContext,
    CausalAttentionContext,
    Conv1dEncoder,
    GRUContext,
    InfoNCE,
    LogMelEncoder,
    LSTMContext,
)
from sklearn_cpc.nn.network import build_network
from sklearn_cpc.nn.pooling import POOLINGS
from sklearn_cpc.training.clip_geometry import ClipShape
from sklearn_cpc.training.embedding import embed_frames, embed_pooled, make_forecasts

RATE, CLIP, N_CONTEXT, N_FUTURE = 1000, 400, 8, 2
N_STEPS, STEP = N_CONTEXT + N_FUTURE, CLIP // (N_CONTEXT + N_FUTURE)
LENGTHS = [3 * CLIP + 70, 5, CLIP, 97, CLIP + 1, 210, 59, 2 * CLIP]
ENCODERS = {
    "conv1d": Conv1dEncoder(4, (8, 4), (4, 2), dense_units=5, z_dim=4, sample_rate=RATE),
    "logmel": LogMelEncoder(n_filters=6, z_dim=4, n_mels=8, sample_rate=RATE),
    "logmel, not centred": LogMelEncoder(n_filters=6, z_dim=4, n_mels=8, sample_rate=RATE, centring=None),
    "logmel, long windows": LogMelEncoder(
        n_filters=6, kernel_sizes=(1,), strides=(1,), z_dim=4, n_mels=8, window_duration=0.064, sample_rate=RATE
    ),
}
CONTEXTS = {
    "gru": GRUContext(3),
    "lstm": LSTMContext(3, n_layers=2),
    "causal attention": CausalAttentionContext(4, n_heads=2, dff=5),
    "attention": AttentionContext(1, 2, dff=5, dense_units=(3,)),
}
each_encoder = pytest.mark.parametrize("encoder", ENCODERS)


def build(encoder="logmel", context="gru", n_samples=CLIP):
    """A network in eval mode, and the shape of its clips."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(
            ENCODERS[encoder],
            CONTEXTS[context],
            InfoNCE(),
            n_samples=n_samples,
            n_context=N_CONTEXT,
            n_future=N_FUTURE,
        )
    return network.eval(), ClipShape.for_network(network)


def sounds(lengths=LENGTHS, seed=0):
    """Noise of different loudness, which an encoder hears in every step."""
    random = np.random.default_rng(seed)
    return [
        (random.uniform(0.01, 1, length) * random.standard_normal(length)).astype(np.float32) for length in lengths
    ]


def poolings_of(network):
    """All that the network has the layers for."""
    layers = set(network.dims) - ({"c"} if network.single_context else set())
    return tuple(name for name, pooling in POOLINGS.items() if pooling.layer in layers)


def pooled(network, shape, samples, pooling, n_clips=None, batch_size=3, dtype=np.float32):
    how = {"pooling": pooling, "n_clips": n_clips, "batch_size": batch_size, "dtype": dtype}
    return embed_pooled(network, samples, **how, device=torch.device("cpu"))


def frames_of(network, shape, samples, layer="z", batch_size=2):
    how = {"layer": layer, "dtype": np.float32, "batch_size": batch_size, "device": torch.device("cpu")}
    return embed_frames(network, samples, **how)


def slow_layers(network, samples, start, shape):
    """Embeddings of one clip alone, padded to its full length: of its steps that hold sound."""
    piece = samples[start : start + shape.n_samples]
    clip = torch.from_numpy(np.pad(piece, (0, shape.n_samples - len(piece))))[None]
    n_valid = int(shape.count_valid(len(piece)))
    names = [name for name in network.dims if name != "c" or not network.single_context]
    with torch.no_grad():
        layers = network.layers(clip, torch.tensor([n_valid]), names)
    return {name: layers[name][0, :n_valid].double().numpy() for name in names}


def slow_clips(length, n_clips, shape):
    """First step of every clip, and those of its steps that no earlier clip has heard, one after the other."""
    n_total = max(1, int(length * shape.n_steps / shape.n_samples + 0.5))
    last = max(0, n_total - shape.n_steps)
    if n_clips is None:
        firsts = [*range(0, last, shape.n_steps), last]
    else:
        firsts = [last // 2] if n_clips == 1 else [round(i * last / (n_clips - 1)) for i in range(n_clips)]
    heard = set()
    for first in dict.fromkeys(firsts):
        new = [step for step in range(first, min(first + shape.n_steps, n_total)) if step not in heard]
        heard.update(new)
        yield first, [step - first for step in new]


def slow_pool(network, samples, name, n_clips, shape):
    clips = []
    for first, new in slow_clips(len(samples), n_clips, shape):
        layers = slow_layers(network, samples, first * shape.n_samples // shape.n_steps, shape)
        clips.append({"context": layers.pop("context")} | {key: steps[new] for key, steps in layers.items()})
    if name == "context":
        return np.mean([clip["context"][0] for clip in clips], axis=0)
    layer, statistic = name.split("_")
    steps = np.concatenate([clip[layer] for clip in clips])
    if statistic == "thirds":
        return np.concatenate([part.mean(0) for part in np.split(np.repeat(steps, 3, axis=0), 3)])
    return {"mean": np.mean, "std": np.std, "max": np.max}[statistic](steps, axis=0)


# Pooling


@pytest.mark.parametrize("n_clips", [None, 1, 2])
@each_encoder
def test_pooled_features_use_steps_of_all_clips_together(encoder, n_clips):
    (network, shape), samples = build(encoder), sounds()
    names = poolings_of(network)
    pieces = shape if n_clips else shape.for_embedding(network, {POOLINGS[name].layer for name in names})
    expected = [np.concatenate([slow_pool(network, x, name, n_clips, pieces) for name in names]) for x in samples]
    features = pooled(network, shape, samples, names, n_clips)
    assert features.dtype == np.float64
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("context", CONTEXTS)
@each_encoder
def test_embedding_does_not_depend_on_other_recordings(encoder, context):
    # Batches are cut after their longest clip: beside long recordings, short ones are padded far more than alone.
    (network, shape), samples = build(encoder, context), sounds()
    names = poolings_of(network)
    alone = np.concatenate([pooled(network, shape, [x], names) for x in samples])
    for batch_size in (1, 3, 100):
        together = pooled(network, shape, samples, names, batch_size=batch_size)
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    backwards = pooled(network, shape, samples[::-1], names)[::-1]
    np.testing.assert_allclose(backwards, alone, rtol=1e-4, atol=1e-5)


def test_different_recordings_have_different_embeddings():
    features = pooled(*build(), sounds(), ("z_mean",))
    distances = np.abs(features[:, None] - features).max(2)
    assert distances[~np.eye(len(features), dtype=bool)].min() > 1e-3


@each_encoder
def test_float64_is_embedded_in_float64(encoder):
    (network, shape), samples = build(encoder), sounds()
    names, precise = poolings_of(network), [x.astype(np.float64) for x in samples]
    double = pooled(network.double(), shape, precise, names, dtype=np.float64)
    single = pooled(build(encoder)[0], shape, samples, names)
    assert 0 < np.abs(double - single).max() < 1e-3


def test_no_recording_gives_no_row_but_all_columns():
    assert pooled(*build(), [], ("z_mean", "z_thirds", "c_max")).shape == (0, 4 + 12 + 3)


# Frames


@pytest.mark.parametrize("layer", ["z", "c"])
@each_encoder
def test_frames_are_the_steps_of_clips_laid_end_to_end_each_once(encoder, layer):
    (network, shape), (samples,) = build(encoder), sounds([23 * CLIP + 70])
    pieces = shape.for_embedding(network, {layer})
    expected = [
        slow_layers(network, samples, first * STEP, pieces)[layer][new]
        for first, new in slow_clips(len(samples), None, pieces)
    ]
    for batch_size in (1, 2, 100):
        result = frames_of(network, shape, samples, layer, batch_size)
        assert result.embeddings.dtype == np.float32
        np.testing.assert_allclose(result.embeddings, np.concatenate(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("length", "n_frames"), [(1, 1), (40, 1), (60, 2), (400, 10), (419, 10), (421, 11), (800, 20), (1270, 32)]
)
@each_encoder
def test_frame_times_are_centres_of_steps(encoder, length, n_frames):
    result = frames_of(*build(encoder), sounds([length])[0])
    np.testing.assert_allclose(result.times, (np.arange(n_frames) + 0.5) * STEP / RATE)
    assert result.embeddings.shape == (n_frames, 4)


def test_click_appears_in_the_frame_of_its_time():
    network, shape = build("conv1d")
    samples = np.zeros(3 * CLIP, np.float32)
    samples[1030] = 1
    times, embeddings = frames_of(network, shape, samples)
    loudest = np.abs(embeddings - embeddings[0]).max(1).argmax()
    assert abs(times[loudest] - 1.030) <= STEP / RATE / 2


# Forecasts


@pytest.mark.parametrize("context", CONTEXTS)
@each_encoder
def test_forecasts_do_not_depend_on_other_clips_in_batch(encoder, context):
    (network, _), samples = build(encoder, context), sounds()
    how = {"n_clips": None, "device": torch.device("cpu")}
    with torch.inference_mode():
        batches = list(make_forecasts(network, samples, batch_size=3, **how))
        singles = list(make_forecasts(network, samples, batch_size=0, **how))  # room for no clip: one at a time
    n_clips = sum(-(-max(1, int(len(x) / STEP + 0.5)) // N_STEPS) for x in samples)
    assert len(batches) < len(singles) == n_clips
    together = [single for batch in batches for single in zip(*batch, strict=True)]
    for clip, (alone,) in zip(together, ([*zip(*single, strict=True)] for single in singles), strict=True):
        predictions, z, positions, n_valid = clip
        assert not z.requires_grad
        assert (positions.tolist(), n_valid) == (alone[2].tolist(), alone[3])
        torch.testing.assert_close(predictions, alone[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(z[:n_valid], alone[1][:n_valid], rtol=1e-4, atol=1e-5)


def test_no_clips_give_no_forecasts():
    network, _ = build()
    assert list(make_forecasts(network, [], n_clips=None, batch_size=4, device=torch.device("cpu"))) == []
