"""The network encodes once, predicts from what it has heard, ignores padding, and takes any part that fits."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sklearn_cpc import (
    AttentionContext,
    CausalAttentionContext,
    Conv1dEncoder,
    Conv2dEncoder,
    GRUContext,
    LogMelEncoder,
    LSTMContext,
)
from sklearn_cpc.nn.encoders import PerWindow
from sklearn_cpc.nn.network import CPCNetwork, Forecast, build_network, get_sample_rate
from sklearn_cpc.nn.objective import InfoNCE, InfoNCELoss, info_nce

N_CONTEXT, N_FUTURE, WINDOW, Z_DIM, C_DIM = 5, 2, 4, 3, 6
N_STEPS = N_CONTEXT + N_FUTURE
N_SAMPLES = N_STEPS * WINDOW
AUTOREGRESSORS = {"gru": GRUContext(C_DIM), "attention": AttentionContext(1, 1, dff=4, dense_units=(5, C_DIM))}


class WindowEncoder(nn.Module):
    """A linear map of every window; counts its calls."""

    sample_rate = 100

    def __init__(self, n_samples, n_steps, bias=True):
        super().__init__()
        linear = nn.Linear(n_samples // n_steps, Z_DIM, bias=bias)
        self.per_window = PerWindow(nn.Sequential(nn.Flatten(), linear), n_steps)
        self.shapes = []

    def forward(self, samples):
        self.shapes.append(tuple(samples.shape))
        return self.per_window(samples)


class Louder(nn.Module):
    """An augmentation that needs no chance; counts its calls."""

    def __init__(self):
        super().__init__()
        self.n_calls = 0

    def forward(self, samples):
        self.n_calls += 1
        return 3 * samples + 1


class LastStep(nn.Module):
    """One context per clip."""

    def forward(self, z):
        return z[:, -1]


def window_encoder(n_samples, n_steps):
    return WindowEncoder(n_samples, n_steps)


@pytest.fixture(autouse=True)
def _rng():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def build(autoregressor="gru", predict_from="last", encoder=WindowEncoder, projection=None, **options):
    autoregressor = AUTOREGRESSORS.get(autoregressor, autoregressor)
    objective = InfoNCE(predict_from=predict_from, projection=projection)
    sizes = {"n_samples": N_SAMPLES, "n_context": N_CONTEXT, "n_future": N_FUTURE}
    return build_network(encoder, autoregressor, objective, **sizes, **options)


def clips_of(batch=4):
    return torch.randn(batch, N_SAMPLES), torch.full((batch,), N_STEPS)


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def train_one_step(network, clips, n_valid):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    loss, _ = InfoNCELoss(N_FUTURE)(network.train()(clips, n_valid))
    loss.backward()
    optimizer.step()


# The forward pass


@pytest.mark.parametrize("predict_from", ["last", "all"])
def test_the_encoder_is_called_once_per_batch_with_all_its_samples(predict_from):
    network = build(predict_from=predict_from)
    network.encoder.shapes.clear()
    network(*clips_of())
    assert network.encoder.shapes == [(4, N_SAMPLES)]
    network.layers(*clips_of(3), ["z", "c", "context"])
    assert network.encoder.shapes[1:] == [(3, N_SAMPLES)]


@pytest.mark.parametrize(
    ("autoregressor", "predict_from", "n_positions"),
    [("gru", "last", 1), ("attention", "last", 1), ("gru", "all", N_STEPS - 1)],
)
def test_a_forecast_has_the_promised_shapes(autoregressor, predict_from, n_positions):
    clips, n_valid = clips_of()
    forecast = build(autoregressor, predict_from)(clips, n_valid)
    assert forecast.predictions.shape == (4, n_positions, N_FUTURE, Z_DIM)
    assert forecast.z.shape == (4, N_STEPS, Z_DIM)
    assert forecast.positions.shape == (4, n_positions)
    assert forecast.n_valid is n_valid
    assert info_nce(*forecast).loss.isfinite()


def test_last_position_predicts_by_a_linear_map_of_its_context():
    network, (clips, n_valid) = build(), clips_of()
    forecast = network(clips, n_valid)
    c = network.autoregressor(network.encoder(clips)[:, :N_CONTEXT])[:, -1]
    maps = network.predictor.weight.reshape(N_FUTURE, Z_DIM, C_DIM)
    assert network.predictor.bias is None
    assert_close(forecast.predictions[:, 0], torch.einsum("kzc,bc->bkz", maps, c))
    assert forecast.positions.tolist() == [[N_CONTEXT - 1]] * 4


def test_all_positions_predict_by_the_same_map_of_their_context():
    network, (clips, n_valid) = build(predict_from="all"), clips_of()
    forecast = network(clips, n_valid)
    c = network.autoregressor(network.encoder(clips))[:, :-1]
    maps = network.predictor.weight.reshape(N_FUTURE, Z_DIM, C_DIM)
    assert_close(forecast.predictions, torch.einsum("kzc,btc->btkz", maps, c))
    assert forecast.positions.tolist() == [list(range(N_STEPS - 1))] * 4


@pytest.mark.parametrize("predict_from", ["last", "all"])
def test_a_prediction_does_not_hear_the_future(predict_from):
    network, (clips, n_valid) = build(predict_from=predict_from), clips_of()
    forecast = network(clips, n_valid)
    for position in range(N_STEPS - 1):
        other = clips.clone()
        other[:, (position + 1) * WINDOW :] += 1
        changed = network(other, n_valid)
        for i in torch.nonzero(forecast.positions[0] <= position)[:, 0]:
            assert_close(changed.predictions[:, i], forecast.predictions[:, i])


@pytest.mark.parametrize("autoregressor", AUTOREGRESSORS)
def test_short_recording_predicts_its_own_last_windows(autoregressor):
    network = build(autoregressor).eval()
    n_valid = torch.tensor([7, 6, 5, 4, 3, 2, 1])
    forecast = network(torch.randn(7, N_SAMPLES), n_valid)
    assert forecast.positions[:, 0].tolist() == [4, 3, 2, 1, 0, 0, 0]
    has_future = forecast.positions + 1 < n_valid[:, None]
    assert has_future[:, 0].tolist() == [True] * 6 + [False]


@pytest.mark.parametrize("autoregressor", AUTOREGRESSORS)
def test_padding_changes_no_prediction_or_context_of_short_recordings(autoregressor):
    network = build(autoregressor).eval()
    clips, n_valid = torch.randn(4, N_SAMPLES), torch.tensor([7, 4, 2, 1])
    other = torch.where(torch.arange(N_SAMPLES) < WINDOW * n_valid[:, None], clips, 1e3)
    assert not torch.equal(clips, other)
    assert_close(network(other, n_valid).predictions, network(clips, n_valid).predictions)
    assert_close(network.layers(other, n_valid, ["context"]), network.layers(clips, n_valid, ["context"]))


@pytest.mark.parametrize("autoregressor", AUTOREGRESSORS)
def test_the_context_depends_on_every_step_heard_and_on_no_other(autoregressor):
    network, z, heard = build(autoregressor).eval(), torch.randn(1, N_STEPS, Z_DIM), torch.tensor([3])
    c = network.context(z, heard)
    assert c.shape == (1, C_DIM)
    for step in range(N_STEPS):
        other = z.clone()
        other[:, step] += torch.tensor([1.0, -2.0, 3.0])
        assert torch.equal(network.context(other, heard), c) == (step >= 3)


def test_loss_and_its_inputs_are_float32_in_any_precision():
    network = build()
    with torch.autocast("cpu", torch.bfloat16):
        forecast = network(*clips_of())
    assert forecast.predictions.dtype == forecast.z.dtype == torch.float32


# Clips cut short


@pytest.mark.parametrize(
    ("autoregressor", "predict_from"), [("gru", "last"), ("gru", "all"), ("attention", "last")]
)
@pytest.mark.parametrize("n_steps", range(2, N_STEPS + 1))
def test_a_batch_of_short_clips_may_be_cut(autoregressor, predict_from, n_steps):
    encoder = nn.Sequential(nn.Unflatten(1, (-1, WINDOW)), nn.Linear(WINDOW, Z_DIM))  # of any number of steps
    network = build(autoregressor, predict_from, encoder).eval()
    n_valid = torch.tensor([n_steps, 2, 1])
    clips = torch.randn(3, N_SAMPLES) * (torch.arange(N_SAMPLES) < WINDOW * n_valid[:, None])
    whole, cut = network(clips, n_valid), network(clips[:, : n_steps * WINDOW], n_valid)
    counts = whole.positions + 1 < n_valid[:, None]  # a position before the end of the clip
    assert_close(cut.predictions[counts[:, : cut.positions.shape[1]]], whole.predictions[counts])
    assert_close(cut.z, whole.z[:, :n_steps])
    names = ["z", "context"]
    layers, of_cut = (
        network.layers(clips, n_valid, names),
        network.layers(clips[:, : n_steps * WINDOW], n_valid, names),
    )
    assert_close(of_cut["context"], layers["context"])
    assert_close(of_cut["z"], layers["z"][:, :n_steps])


# What is predicted in place of z


def test_projection_enters_the_loss_but_not_the_embeddings():
    network, (clips, n_valid) = build(projection=4), clips_of()
    forecast = network(clips, n_valid)
    z = network.encoder(clips)
    assert isinstance(network.projector, nn.Linear)
    assert network.predictor.weight.shape == (N_FUTURE * 4, C_DIM)
    assert forecast.predictions.shape == (4, 1, N_FUTURE, 4)
    assert_close(forecast.z, network.projector(z))
    c = network.autoregressor(z[:, :N_CONTEXT])[:, -1]
    maps = network.predictor.weight.reshape(N_FUTURE, 4, C_DIM)
    assert_close(forecast.predictions[:, 0], torch.einsum("kpc,bc->bkp", maps, c))
    assert_close(network.layers(clips, n_valid, ["z"])["z"], z)
    assert network.dims == {"z": Z_DIM, "c": C_DIM, "context": C_DIM}


def test_without_a_projection_z_itself_is_predicted():
    network, (clips, n_valid) = build(), clips_of()
    assert not list(network.projector.parameters())
    assert_close(network(clips, n_valid).z, network.encoder(clips))


def test_a_projection_is_trained():
    network = build(projection=4)
    before = state_of(network.projector)
    train_one_step(network, *clips_of())
    assert not torch.equal(network.projector.weight, before["weight"])


# Augmentation


@pytest.mark.parametrize("predict_from", ["last", "all"])
def test_context_hears_augmented_clips_and_predicts_clean_future(predict_from):
    network = build(predict_from=predict_from, augmentation=Louder()).train()
    clips, n_valid = clips_of()
    network.encoder.shapes.clear()
    forecast = network(clips, n_valid)
    assert network.encoder.shapes == [(4, N_SAMPLES)] * 2
    assert network.augmentation.n_calls == 1
    clean = network.eval()(clips, n_valid)
    louder = network(3 * clips + 1, n_valid)
    assert_close(forecast.z, clean.z)
    assert_close(forecast.predictions, louder.predictions)
    assert not torch.allclose(forecast.predictions, clean.predictions)


def test_nothing_is_augmented_but_in_training():
    network, plain = build(augmentation=Louder()).eval(), build().eval()
    plain.load_state_dict(network.state_dict())
    clips, n_valid = clips_of()
    network.encoder.shapes.clear()
    assert_close(network(clips, n_valid), plain(clips, n_valid))
    assert len(network.encoder.shapes) == 1
    for mode in (True, False):
        layers = network.train(mode).layers(clips, n_valid, ["z", "c", "context"])
        assert_close(layers, plain.layers(clips, n_valid, ["z", "c", "context"]))
    assert network.augmentation.n_calls == 0


def test_both_the_clean_and_the_augmented_clips_train_the_encoder():
    for part in ("z", "predictions"):
        network = build(augmentation=Louder()).train()
        getattr(network(*clips_of()), part).square().sum().backward()
        assert (next(network.encoder.parameters()).grad != 0).any()


# Layers


def test_layers_are_the_embeddings_and_contexts_of_all_steps():
    network, (clips, n_valid) = build().eval(), clips_of()
    z = network.encoder(clips)
    layers = network.layers(clips, n_valid, {"c", "z"})
    assert set(layers) == {"z", "c"}
    assert_close(layers["z"], z)
    assert_close(layers["c"], network.autoregressor(z))
    assert network.dims == {"z": Z_DIM, "c": C_DIM, "context": C_DIM}


def test_the_context_of_a_whole_clip_is_that_after_the_past():
    network, (clips, n_valid) = build().eval(), clips_of()
    c = network.autoregressor(network.encoder(clips))
    assert_close(network.layers(clips, n_valid, ["context"]), {"context": c[:, N_CONTEXT - 1 : N_CONTEXT]})
    short = torch.tensor([6, 5, 4, 1])
    expected = c[torch.arange(4), torch.tensor([4, 4, 3, 0])]
    assert_close(network.layers(clips, short, ["context"])["context"], expected[:, None])


def test_the_contexts_are_computed_only_where_they_are_asked_for():
    network, (clips, n_valid) = build().eval(), clips_of()
    calls = []
    network.autoregressor.register_forward_pre_hook(lambda *_: calls.append(1))
    network.layers(clips, n_valid, ["z"])
    assert calls == []
    network.layers(clips, n_valid, ["c"])
    assert calls == [1]


def test_z_and_the_context_are_there_with_one_context_per_clip():
    layers = build("attention").eval().layers(*clips_of(), ["context", "z"])
    assert {name: layer.shape for name, layer in layers.items()} == {"context": (4, 1, C_DIM), "z": (4, 7, Z_DIM)}


def test_an_encoder_of_mel_bands_gives_them_as_a_layer():
    recipe = LogMelEncoder(n_filters=4, z_dim=Z_DIM, n_mels=6, sample_rate=1000)
    network = build_network(
        recipe, AUTOREGRESSORS["gru"], InfoNCE(), n_samples=700, n_context=N_CONTEXT, n_future=N_FUTURE
    ).eval()
    clips = torch.randn(2, 700)
    assert network.dims == {"z": Z_DIM, "c": C_DIM, "context": C_DIM, "mel": 6, "centred": 6}
    layers = network.layers(clips, torch.tensor([N_STEPS, 3]), ["mel", "centred"])
    assert layers["mel"].shape == layers["centred"].shape == (2, N_STEPS, 6)
    assert_close(layers, network.encoder.with_mel(clips)[1])
    assert "mel" not in build().dims


# The loss module


def test_the_loss_module_is_info_nce_with_accuracies_by_name():
    forecast = build()(*clips_of())
    options = {"negatives": "mixed", "similarity": "cosine", "temperature": 0.3, "step_weights": "linear"}
    criterion = InfoNCELoss(N_FUTURE, **options)
    loss, metrics = criterion(forecast)
    expected = info_nce(*forecast, **options)
    assert loss.item() == expected.loss.item()
    assert criterion.metrics == tuple(metrics) == ("accuracy", "accuracy_1", "accuracy_2")
    assert list(metrics.values())[1:] == pytest.approx(expected.accuracy.tolist())
    assert metrics["accuracy"] == pytest.approx(expected.accuracy.mean().item())
    assert all(type(value) is float for value in metrics.values())


def test_the_mean_accuracy_is_over_the_steps_that_have_predictions():
    z = torch.eye(4)[:, None].expand(4, 2, 4)
    at = torch.zeros(4, 1, dtype=torch.long)  # z_1 is there, z_2 is not
    _, metrics = InfoNCELoss(2)(Forecast(z[:, None], z, at, torch.full((4,), 2)))
    assert metrics == {"accuracy": 1.0, "accuracy_1": 1.0, "accuracy_2": 0.0}
    _, metrics = InfoNCELoss(2)(Forecast(z[:, None], z, at, torch.ones(4, dtype=torch.long)))
    assert metrics == {"accuracy": 0.0, "accuracy_1": 0.0, "accuracy_2": 0.0}


# Parts


@pytest.mark.parametrize(
    ("encoder", "autoregressor", "kinds", "n_samples"),
    [
        ("conv1d", "gru", (Conv1dEncoder, GRUContext), 465 * 3),
        ("conv2d", "attention", (Conv2dEncoder, AttentionContext), 3 * 64 * 10),
        ("logmel", "lstm", (LogMelEncoder, LSTMContext), 3 * 320),
        ("logmel", "causal_attention", (LogMelEncoder, CausalAttentionContext), 3 * 320),
    ],
)
def test_names_stand_for_the_recipes_with_their_defaults(encoder, autoregressor, kinds, n_samples):
    network = build_network(encoder, autoregressor, InfoNCE(), n_samples=n_samples, n_context=2, n_future=1)
    shapes = [parameter.shape for parameter in network.encoder.parameters()]
    assert shapes == [parameter.shape for parameter in kinds[0]()(n_samples, 3).parameters()]
    shapes = [parameter.shape for parameter in network.autoregressor.parameters()]
    assert shapes == [parameter.shape for parameter in kinds[1]()(256, 2).parameters()]
    assert network.dims["z"] == 256
    assert network.dims["c"] == network.dims["context"] == (256 if autoregressor == "causal_attention" else 512)
    assert network.single_context == (autoregressor == "attention")


@pytest.mark.parametrize(
    "encoder",
    [
        WindowEncoder,
        WindowEncoder(N_SAMPLES, N_STEPS),
        window_encoder,
        lambda n_samples, n_steps: WindowEncoder(n_samples, n_steps),
        functools.partial(WindowEncoder, bias=False),
        Conv1dEncoder(2, (2,), (1,), dense_units=3, z_dim=Z_DIM, sample_rate=100),
    ],
    ids=["class", "module", "function", "lambda", "partial", "recipe"],
)
def test_an_encoder_may_be_anything_that_gives_a_module(encoder):
    network = build(encoder=encoder)
    assert isinstance(network, CPCNetwork)
    assert network(*clips_of()).z.shape == (4, N_STEPS, Z_DIM)


@pytest.mark.parametrize(
    "autoregressor",
    [
        nn.Linear(Z_DIM, C_DIM),
        nn.Linear,
        lambda z_dim, n_context: nn.Sequential(nn.Flatten(), nn.Linear(z_dim * n_context, C_DIM)),
        functools.partial(nn.Linear, bias=False),
        LastStep(),
    ],
    ids=["module", "class", "lambda", "partial", "one context"],
)
def test_an_autoregressor_may_be_anything_that_gives_a_module(autoregressor):
    network = build(autoregressor)
    assert network(*clips_of()).predictions.shape == (4, 1, N_FUTURE, Z_DIM)


def test_what_was_handed_in_is_never_trained():
    encoder, gru = WindowEncoder(N_SAMPLES, N_STEPS), GRUContext(C_DIM)(Z_DIM, N_CONTEXT)
    before = state_of(encoder), state_of(gru)
    for parts in [(encoder, gru), (lambda *_: encoder, lambda *_: gru)]:
        network = build(parts[1], encoder=parts[0])
        train_one_step(network, *clips_of())
        assert not torch.equal(next(network.encoder.parameters()), next(encoder.parameters()))
        for module, state in zip((encoder, gru), before, strict=True):
            assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_a_module_that_comes_with_weights_keeps_them():
    encoder = WindowEncoder(N_SAMPLES, N_STEPS)
    network = build(encoder=encoder)
    assert network.encoder is not encoder
    assert_close(state_of(network.encoder), state_of(encoder))


def test_a_recipe_is_tried_once_and_refused_every_time():
    tried = []

    def count(module, *_):
        tried.append(module)

    def build(z_dim, clip=6000, **sizes):
        encoder = Conv1dEncoder(n_filters=4, dense_units=4, z_dim=z_dim, sample_rate=1000, **sizes)
        return build_network(encoder, "gru", InfoNCE(), n_samples=clip, n_context=10, n_future=2)

    with nn.modules.module.register_module_forward_pre_hook(count):
        first = build(z_dim=7)
        assert tried
        tried.clear()
        again = build(z_dim=7)
        assert not tried
        assert build(z_dim=5).dims["z"] == 5
        assert tried
    assert (first.dims, first.single_context) == (again.dims, again.single_context)
    assert not any(one is other for one, other in zip(first.parameters(), again.parameters(), strict=True))
    for _ in range(2):
        with pytest.raises(ValueError, match="two clips would take more than"):
            build(z_dim=7, clip=2**28, kernel_sizes=(9, 9), strides=(1, 2**16))


def test_trying_parts_keeps_their_statistics_and_mode():
    encoder = nn.Sequential(nn.Unflatten(1, (N_STEPS, WINDOW)), nn.Dropout(0.5), nn.BatchNorm1d(N_STEPS))
    network = build(nn.Linear(WINDOW, C_DIM), encoder=encoder)
    assert network.encoder[2].num_batches_tracked == 0
    assert network.training
    assert network.encoder[1].training
    assert not build(encoder=encoder.eval()).encoder.training


def test_lazy_layers_are_trained_like_any_other():
    encoder = nn.Sequential(nn.Unflatten(1, (N_STEPS, WINDOW)), nn.LazyLinear(Z_DIM))
    network = build(encoder=encoder)
    before = state_of(network.encoder)
    train_one_step(network, *clips_of())
    assert not torch.equal(before["1.weight"], network.encoder[1].weight)


# Parts that do not fit


@pytest.mark.parametrize(
    ("encoder", "autoregressor", "message"),
    [
        (
            "conv3d",
            "gru",
            "encoder='conv3d' is unknown; use 'conv1d', 'conv2d', 'logmel', a recipe, an nn.Module or a callable",
        ),
        (
            WindowEncoder,
            "rnn",
            "autoregressor='rnn' is unknown; use 'gru', 'attention', 'lstm', 'causal_attention', a",
        ),
        (nn.Flatten(), "gru", r"to \(2, 28\); it must return \(2, 7, z_dim\)"),
        (nn.Unflatten(1, (4, 7)), "gru", r"to \(2, 4, 7\); it must return \(2, 7, z_dim\)"),
        (nn.Linear(5, 3), "gru", r"encoder cannot take a batch of shape \(2, 28\)"),
        (nn.BatchNorm2d(1), "gru", r"encoder cannot take a batch of shape \(2, 28\): expected 4D"),
        (WindowEncoder, nn.Linear(99, 3), r"autoregressor cannot take a batch of shape \(2, 5, 3\)"),
        (WindowEncoder, nn.Unflatten(2, (3, 1)), r"to \(2, 5, 3, 1\); it must return \(2, 5, c_dim\)"),
        (WindowEncoder, nn.Flatten(0), r"to \(30,\); it must return \(2, 5, c_dim\)"),
        (WindowEncoder, nn.AdaptiveAvgPool2d((4, 3)), r"to \(2, 4, 3\); it must return \(2, 5, c_dim\)"),
    ],
)
def test_part_of_wrong_shape_raises_value_error(encoder, autoregressor, message):
    with pytest.raises(ValueError, match=message):
        build(autoregressor, encoder=encoder)


@pytest.mark.parametrize(
    ("encoder", "autoregressor", "message"),
    [
        (7, "gru", "encoder=7; use 'conv1d', 'conv2d', 'logmel', a recipe, an nn.Module or a callable returning"),
        (None, "gru", "encoder=None; use"),
        (Conv1dEncoder, "gru", r"encoder is a class of recipes; use an instance of it: Conv1dEncoder\(\)"),
        (lambda *_: None, "gru", "returned NoneType; use"),
        (WindowEncoder, 0.5, "autoregressor=0.5; use 'gru', 'attention'"),
        (WindowEncoder, lambda *_: "gru", "returned str; use"),
        (WindowEncoder, nn.GRU(Z_DIM, C_DIM, batch_first=True), "autoregressor must return a tensor, got tuple"),
    ],
)
def test_part_that_is_no_module_raises_type_error(encoder, autoregressor, message):
    with pytest.raises(TypeError, match=message):
        build(autoregressor, encoder=encoder)


@pytest.mark.parametrize("autoregressor", ["attention", LastStep()])
def test_one_context_per_clip_cannot_predict_from_all_positions(autoregressor):
    with pytest.raises(ValueError, match="predict_from='all' needs a context at every step"):
        build(autoregressor, predict_from="all")


def test_autoregressor_of_fixed_length_cannot_predict_from_all():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.positions = nn.Parameter(torch.zeros(N_CONTEXT, Z_DIM))

        def forward(self, z):
            return z + self.positions

    assert build(Positions(), predict_from="last")(*clips_of()).predictions.isfinite().all()
    with pytest.raises(ValueError, match=r"autoregressor cannot take a batch of shape \(2, 6, 3\)"):
        build(Positions(), predict_from="all")


# Sample rates


class AtNumpyRate(WindowEncoder):
    sample_rate = np.int32(8000)


@pytest.mark.parametrize(
    ("encoder", "rate"),
    [
        ("conv1d", 4410),
        ("conv2d", 22050),
        ("logmel", 16000),
        (np.str_("conv1d"), 4410),
        (Conv1dEncoder(sample_rate=800), 800),
        (Conv2dEncoder(sample_rate=np.int64(16000)), 16000),
        (WindowEncoder, 100),
        (WindowEncoder(8, 2), 100),
        (AtNumpyRate, 8000),
    ],
)
def test_an_encoder_says_its_sample_rate(encoder, rate):
    found = get_sample_rate(encoder)
    assert found == rate
    assert type(found) is int


@pytest.mark.parametrize("rate", [0, -1, 4410.0, "4410", None])
def test_a_sample_rate_that_is_none_is_refused(rate):
    encoder = nn.Flatten()
    encoder.sample_rate = rate
    with pytest.raises(ValueError, match=f"has sample_rate={rate!r}.* a positive integer, in Hz"):
        get_sample_rate(encoder)


def test_an_encoder_without_a_sample_rate_is_asked_for_one():
    with pytest.raises(ValueError, match="give it an attribute sample_rate"):
        get_sample_rate(window_encoder)


def test_a_partial_can_be_given_a_sample_rate():
    encoder = functools.partial(WindowEncoder)
    encoder.sample_rate = 16000
    assert get_sample_rate(encoder) == 16000


def test_an_unknown_encoder_has_no_sample_rate():
    with pytest.raises(ValueError, match="encoder='conv3d' is unknown"):
        get_sample_rate("conv3d")
    with pytest.raises(TypeError, match="encoder=42; use 'conv1d', 'conv2d'"):
        get_sample_rate(42)
