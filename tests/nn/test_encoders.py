"""All encoder recipes behave alike; the report's two have exactly its sizes and windows."""

import copy

import librosa
import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from sklearn_cpc import Conv1dEncoder, Conv2dEncoder, LogMelEncoder
from sklearn_cpc.nn.encoders import PerWindow
from sklearn_cpc.nn.frontends import LogMel

CONV1D = Conv1dEncoder(n_filters=6, dense_units=7, z_dim=5, sample_rate=1000)
CONV2D = Conv2dEncoder(
    n_filters=(3, 4),
    kernel_sizes=(3, 3),
    strides=(2, 2),
    dense_units=6,
    z_dim=5,
    n_mels=8,
    n_fft=128,
    sample_rate=4000,
)
LOGMEL = LogMelEncoder(n_filters=6, z_dim=5, n_mels=8, sample_rate=4000, window_duration=0.016)
RECIPES = {  # recipe, n_samples, n_steps
    "conv1d": (CONV1D, 2000, 4),
    "conv1d, uneven windows": (CONV1D, 2003, 3),
    "conv1d, two layers": (clone(CONV1D).set_params(kernel_sizes=[7, 3], strides=[3, 1], n_filters=2), 333, 7),
    "conv2d": (CONV2D, 2000, 4),
    "conv2d, hop rounded up": (CONV2D, 300, 4),
    "conv2d, decibels": (clone(CONV2D).set_params(standardize=False), 2000, 4),
    "conv2d, not smoothed": (clone(CONV2D).set_params(time_smoothing=0), 2000, 4),
    "conv2d, larger kernel": (
        clone(CONV2D).set_params(kernel_sizes=[5, 1], strides=[1, 3], n_filters=[2, 3], n_mels=7),
        2111,
        5,
    ),
    "logmel": (LOGMEL, 400, 10),
    "logmel, not centred": (clone(LOGMEL).set_params(centring=None), 400, 10),
    "logmel, uneven steps": (LOGMEL, 2003, 7),
    "logmel, other kernels": (clone(LOGMEL).set_params(kernel_sizes=[2, 7], strides=[2, 3]), 600, 5),
}
contract = pytest.mark.parametrize("name", RECIPES)


@pytest.fixture(autouse=True)
def _rng():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def build(name):
    recipe, n_samples, n_steps = RECIPES[name]
    return recipe(n_samples, n_steps).eval()


def clips_for(name, batch=3):
    return torch.randn(batch, RECIPES[name][1])


def n_weights(module):
    statistics = [value for name, value in module.named_buffers() if "running_" in name]
    return sum(tensor.numel() for tensor in [*module.parameters(), *statistics])


# What all recipes have in common


@contract
def test_clips_become_one_embedding_per_step(name):
    recipe, _, n_steps = RECIPES[name]
    z = build(name)(clips_for(name))
    assert z.shape == (3, n_steps, recipe.z_dim)
    assert z.dtype == torch.float32
    assert z.isfinite().all()


@contract
def test_recipe_has_a_sample_rate_and_can_be_cloned(name):
    recipe = RECIPES[name][0]
    copied = clone(recipe)
    assert isinstance(recipe.sample_rate, int)
    assert copied is not recipe
    assert copied.get_params() == recipe.get_params()
    assert type(recipe)(**recipe.get_params()).get_params() == recipe.get_params()


@contract
def test_every_call_builds_a_new_module_and_keeps_the_recipe(name):
    recipe, n_samples, n_steps = RECIPES[name]
    before = clone(recipe).get_params()
    first, second = recipe(n_samples, n_steps), recipe(n_samples, n_steps)
    assert recipe.get_params() == before
    assert vars(recipe).keys() == before.keys()
    assert not {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@contract
def test_changed_parameters_take_effect_at_the_next_call(name):
    recipe, n_samples, n_steps = RECIPES[name]
    assert clone(recipe).set_params(z_dim=9)(n_samples, n_steps)(clips_for(name)).shape == (3, n_steps, 9)


@contract
def test_the_same_seed_builds_the_same_module(name):
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        weights.append(build(name).state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@contract
def test_float64_gives_the_same_embeddings(name):
    encoder, clips = build(name), clips_for(name)
    single, double = encoder(clips), encoder.double()(clips.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single, double.float(), rtol=1e-3, atol=1e-4)


@contract
def test_clips_of_a_batch_do_not_affect_each_other(name):
    encoder, clips = build(name), clips_for(name)
    alone = torch.cat([encoder(clip[None]) for clip in clips])
    torch.testing.assert_close(encoder(clips), alone, rtol=1e-4, atol=1e-6)


@contract
def test_every_weight_gets_a_gradient(name):
    encoder = build(name)
    encoder(clips_for(name)).square().sum().backward()
    for weights_name, weights in encoder.named_parameters():
        assert weights.grad is not None, weights_name
        assert (weights.grad != 0).any(), weights_name


@contract
def test_silence_gives_finite_embeddings_and_gradients(name):
    encoder = build(name).train()
    z = encoder(torch.zeros(3, RECIPES[name][1]))
    z.square().sum().backward()
    assert z.isfinite().all()
    assert all(weights.grad.isfinite().all() for weights in encoder.parameters())


@contract
def test_autocast_to_bfloat16_stays_close_to_float32(name):
    encoder, clips = build(name), clips_for(name)
    expected = encoder(clips)
    with torch.autocast("cpu", torch.bfloat16):
        z = encoder(clips)
    torch.testing.assert_close(z.float(), expected, rtol=0.1, atol=0.05)
    z.float().sum().backward()
    assert all(weights.grad.isfinite().all() for weights in encoder.parameters())


def test_sample_rate_may_be_a_numpy_integer():
    assert clone(CONV2D).set_params(sample_rate=np.int64(4000))(2000, 4)(torch.zeros(1, 2000)).shape == (1, 4, 5)


# The number of filters


@pytest.mark.parametrize(("name", "n_filters"), [("conv1d", (6,) * 5), ("conv2d", (6, 6)), ("logmel", [6, 6])])
def test_equal_filters_may_be_given_by_one_number(name, n_filters):
    recipe, n_samples, n_steps = RECIPES[name]
    states = []
    for filters in (6, n_filters, np.int64(6)):
        torch.manual_seed(0)
        states.append(clone(recipe).set_params(n_filters=filters)(n_samples, n_steps).state_dict())
    assert all(state.keys() == states[0].keys() for state in states)
    assert all(torch.equal(state[key], states[0][key]) for state in states for key in state)


@pytest.mark.parametrize(
    ("name", "n_filters"), [("conv1d", (2, 3, 4, 5, 6)), ("conv2d", (2, 3)), ("logmel", (2, 3))]
)
def test_each_convolution_may_have_its_own_number_of_filters(name, n_filters):
    recipe, n_samples, n_steps = RECIPES[name]
    encoder = clone(recipe).set_params(n_filters=n_filters)(n_samples, n_steps).eval()
    convolutions = [module for module in encoder.modules() if isinstance(module, (nn.Conv1d, nn.Conv2d))]
    expected = [*n_filters, recipe.z_dim] if name == "logmel" else list(n_filters)
    assert [convolution.out_channels for convolution in convolutions] == expected
    assert encoder(clips_for(name)).shape == (3, n_steps, recipe.z_dim)


@pytest.mark.parametrize(
    ("name", "n_filters", "message"),
    [
        ("conv1d", (6,) * 4, r"n_filters=\[6, 6, 6, 6\] must have 5 entries, one per convolution\."),
        ("conv2d", (6, 6, 6), r"n_filters=\[6, 6, 6\] must have 2 entries, one per convolution\."),
        ("logmel", (6, 6, 6), r"n_filters=\[6, 6, 6\] must have 2 entries, one per convolution but the last\."),
        ("conv1d", (6, 6, 6, 6, 0), "'n_filters' parameter"),
        ("conv2d", (), "'n_filters' parameter"),
        ("logmel", "66", "'n_filters' parameter"),
    ],
)
def test_filters_that_do_not_match_the_convolutions_are_refused(name, n_filters, message):
    recipe, n_samples, n_steps = RECIPES[name]
    with pytest.raises(ValueError, match=message):
        clone(recipe).set_params(n_filters=n_filters)(n_samples, n_steps)


def test_logmel_with_one_convolution_has_no_other_filters():
    recipe = clone(LOGMEL).set_params(kernel_sizes=(3,), strides=(1,))
    for n_filters in (6, ()):
        encoder = recipe.set_params(n_filters=n_filters)(400, 20).eval()
        assert encoder(torch.zeros(1, 400)).shape == (1, 20, 5)


# The report's sizes


@pytest.mark.parametrize(
    ("recipe", "n_samples", "expected", "trainable"),
    [(Conv1dEncoder(), 17640, 5_654_784, 5_649_664), (Conv2dEncoder(), 88200, 5_672_832, 5_672_832)],
    ids=["conv1d", "conv2d"],
)
def test_defaults_have_the_number_of_weights_of_the_report(recipe, n_samples, expected, trainable):
    encoder = recipe(n_samples, n_steps=30)
    assert n_samples == 4 * recipe.sample_rate
    assert n_weights(encoder) == expected
    assert sum(weights.numel() for weights in encoder.parameters()) == trainable
    assert encoder.eval()(torch.zeros(1, n_samples)).shape == (1, 30, 256)


@pytest.mark.parametrize(
    ("recipe", "n_samples", "expected"),
    [
        (CONV1D, 4 * 465, (60 + 6) + (288 + 6) + 3 * (144 + 6) + 5 * 12 + (42 + 7) + (35 + 5)),
        (CONV2D, 2000, 3 * 9 + 3 + 4 * 3 * 9 + 4 + 6 * (4 * 4) + 6 + 5 * 6 + 5),
    ],
    ids=["conv1d", "conv2d"],
)
def test_small_networks_have_the_weights_counted_by_hand(recipe, n_samples, expected):
    trainable = sum(weights.numel() for weights in recipe(n_samples, 4).parameters())
    assert trainable == expected


def test_conv1d_has_the_layers_of_table_1():
    convolutions = [m for m in Conv1dEncoder()(17640, 30).modules() if isinstance(m, nn.Conv1d)]
    assert [m.kernel_size[0] for m in convolutions] == [10, 8, 4, 4, 4]
    assert [m.stride[0] for m in convolutions] == [5, 4, 2, 2, 2]
    assert [m.out_channels for m in convolutions] == [512] * 5
    assert [m.padding[0] for m in convolutions] == [0] * 5


def test_conv2d_has_the_layers_of_table_2():
    convolutions = [m for m in Conv2dEncoder()(88200, 30).modules() if isinstance(m, nn.Conv2d)]
    assert [m.kernel_size for m in convolutions] == [(3, 3)] * 4
    assert [m.stride for m in convolutions] == [(2, 2)] * 4
    assert [m.out_channels for m in convolutions] == [32, 64, 256, 512]


# Which samples a step hears


@pytest.mark.parametrize("name", ["conv1d", "conv1d, uneven windows", "conv1d, two layers"])
def test_steps_of_conv1d_depend_on_their_own_window_only(name):
    _, n_samples, n_steps = RECIPES[name]
    encoder, clips = build(name), clips_for(name, batch=1)
    z, window = encoder(clips), n_samples // n_steps
    for step in range(n_steps):
        for sample in (step * window, step * window + window // 2):
            other = clips.clone()
            other[0, sample] += 1
            changed = (encoder(other) != z).any(dim=2)[0]
            assert changed.tolist() == [s == step for s in range(n_steps)]


def test_samples_left_over_at_the_end_are_not_used():
    encoder, clips = build("conv1d, uneven windows"), clips_for("conv1d, uneven windows")
    other = clips.clone()
    other[:, -2:] += 1  # 2003 = 3 * 667 + 2
    assert torch.equal(encoder(other), encoder(clips))


def test_default_window_is_used_up_to_the_last_stride():
    clips = torch.randn(1, 588, requires_grad=True)
    Conv1dEncoder(n_filters=4, z_dim=3)(588, 1).eval()(clips).sum().backward()
    heard = torch.nonzero(clips.grad[0])[:, 0]
    assert (heard.min(), heard.max()) == (0, 464)  # one output of the last convolution: 465 samples


@pytest.mark.parametrize("step", range(4))
def test_steps_of_conv2d_depend_on_their_own_stretch_of_time(step):
    # Without standardising, which looks at the whole clip. The ends of a window share a spectrum with the next.
    recipe = clone(CONV2D).set_params(standardize=False, n_mels=16, n_fft=128)
    clips, window = torch.randn(1, 4 * 16 * 20), 16 * 20
    encoder = recipe(clips.shape[1], 4).eval()
    other = clips.clone()
    other[:, step * window + 100 : step * window + 220] += torch.randn(120)
    changed = (encoder(other) != encoder(clips)).any(dim=2)[0]
    assert changed.tolist() == [s == step for s in range(4)]


@pytest.mark.parametrize(
    ("n_mels", "n_steps", "n_samples", "hop"),
    [
        (64, 30, 88200, 46),  # the report: 4 s of 22,050 Hz, 45.94 samples
        (64, 30, 88100, 46),
        (64, 3, 8000, 42),
        (32, 10, 4000, 12),  # 12.5, to the even one
        (16, 5, 80, 1),
        (16, 5, 121, 2),  # 1.51: more frames than the clip has, so silence is added
        (8, 12, 5000, 52),
        (20, 7, 1999, 14),
    ],
)
def test_windows_of_conv2d_are_square_for_any_clip(n_mels, n_steps, n_samples, hop):
    recipe = Conv2dEncoder((2,), (3,), (2,), dense_units=3, z_dim=3, n_mels=n_mels, n_fft=2048, standardize=False)
    encoder = recipe(n_samples, n_steps)
    seen = []
    encoder.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    clips = torch.randn(2, n_samples)
    assert encoder(clips).shape == (2, n_steps, 3)
    log_mel = next(module for module in encoder.modules() if isinstance(module, LogMel))
    assert log_mel.hop_length == hop
    assert seen[0].shape == (2 * n_steps, 1, n_mels, n_mels)

    # Laid side by side again, the windows are the beginning of librosa's spectrogram, in order.
    image = torch.cat(list(seen[0][n_steps:, 0]), dim=1)
    padded = np.pad(clips[1].numpy(), (0, 2048))  # more than frames reach
    power = librosa.feature.melspectrogram(y=padded, sr=22050, n_fft=2048, hop_length=hop, n_mels=n_mels)
    expected = librosa.power_to_db(power, top_db=None)[:, : n_steps * n_mels] / 50 + 1
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_decibels_are_scaled_so_that_silence_is_minus_one():
    recipe = clone(CONV2D).set_params(standardize=False)
    encoder = recipe(2000, 4)
    assert torch.equal(encoder.spectrogram(torch.zeros(1, 2000)), -torch.ones(1, 8, 33))


def test_spectrogram_of_conv2d_is_standardised_and_smoothed():
    plain = clone(CONV2D).set_params(time_smoothing=0)(2000, 4).spectrogram(torch.randn(2, 2000))
    smooth = CONV2D(2000, 4).spectrogram(torch.randn(2, 2000))
    np.testing.assert_allclose(plain.mean(2), 0, atol=1e-5)
    np.testing.assert_allclose(plain.std(2, correction=0), 1, atol=1e-4)
    assert smooth.std(2).max() < 0.7


def test_padding_does_not_count_in_the_spectrogram():
    clips = torch.randn(1, 2000)
    clips[:, 1000:] = 0
    spectrogram = clone(CONV2D).set_params(time_smoothing=0)(2000, 4).spectrogram(clips)
    hop, reach = 62, 64  # 2000 / 32 frames, 128 / 2 samples
    silent = torch.arange(spectrogram.shape[2]) * hop - reach >= 1000
    assert (spectrogram[:, :, silent] == 0).all()
    np.testing.assert_allclose(spectrogram[:, :, ~silent].mean(2), 0, atol=1e-5)
    np.testing.assert_allclose(spectrogram[:, :, ~silent].std(2, correction=0), 1, atol=1e-4)


# The building blocks


def test_per_window_passes_windows_of_samples_in_order():
    z = PerWindow(nn.Flatten(), n_steps=3)(torch.arange(14.0).reshape(2, 7))
    assert z.tolist() == [[[0, 1], [2, 3], [4, 5]], [[7, 8], [9, 10], [11, 12]]]


def test_per_window_cuts_spectrograms_into_images_in_order():
    encoder = PerWindow(nn.Flatten(), n_steps=3, spectrogram=nn.Unflatten(1, (2, 7)), length=2)
    z = encoder(torch.arange(14.0)[None])
    assert z.tolist() == [[[0, 1, 7, 8], [2, 3, 9, 10], [4, 5, 11, 12]]]


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_channels_last_layout_of_conv2d_keeps_the_numbers(kernel):
    recipe = clone(CONV2D).set_params(n_filters=(3, 5, 4), kernel_sizes=(kernel,) * 3, strides=(2, 1, 2))
    encoder = recipe(4000, 5).eval()
    plain = copy.deepcopy(encoder).to(memory_format=torch.contiguous_format)
    layouts = [net.network[3].weight.stride() for net in (encoder, copy.deepcopy(encoder), plain)]
    assert layouts[0] == layouts[1] != layouts[2]
    plain.load_state_dict(encoder.state_dict())
    assert plain.network[3].weight.stride() == layouts[2]
    clips = torch.randn(3, 4000)
    for net in (encoder, plain):
        net(clips).square().sum().backward()
    torch.testing.assert_close(encoder(clips), plain(clips))
    for (name, one), (_, other) in zip(encoder.named_parameters(), plain.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_conv2d_pads_clips_with_silence_before_the_spectrogram():
    # 80 frames, 1.51 samples apart: a hop of 2, so that the centre of the last frame is sample 158.
    clip = torch.randn(1, 121)
    spectrogram = clone(CONV2D).set_params(n_mels=16, standardize=False)(121, 5).spectrogram(clip)
    padded = torch.cat([clip, torch.zeros(1, 158 - 121)], dim=1)
    assert torch.equal(spectrogram, LogMel(4000, 128, 2, 16)(padded) / 50 + 1)


# Bad parameters


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"n_filters": 0}, ValueError),
        ({"n_filters": 1.5}, TypeError),
        ({"dense_units": -1}, ValueError),
        ({"z_dim": 0}, ValueError),
        ({"z_dim": "wide"}, TypeError),
        ({"sample_rate": 0}, ValueError),
        ({"sample_rate": 4410.0}, TypeError),
        ({"dropout": 1.0}, ValueError),
        ({"dropout": -0.1}, ValueError),
        ({"dropout": None}, TypeError),
        ({"kernel_sizes": 4}, ValueError),
        ({"kernel_sizes": (10, 8, 4, 4)}, ValueError),
        ({"kernel_sizes": (10, 8, 4, 4, 0)}, ValueError),
        ({"kernel_sizes": (10, 8, 4, 4, 4.0)}, TypeError),
        ({"strides": ()}, ValueError),
        ({"strides": (0, 4, 2, 2, 2)}, ValueError),
        ({"strides": "54222"}, TypeError),
        ({"strides": (1,) * 101}, ValueError),
        ({"z_dim": 10**6}, ValueError),
        ({"sample_rate": 10**8}, ValueError),
    ],
    ids=str,
)
def test_invalid_parameters_of_conv1d_are_named(change, error):
    with pytest.raises(error, match=next(iter(change))):
        Conv1dEncoder(**change)(17640, 30)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"n_filters": (32, 64, 256)}, ValueError),
        ({"n_filters": 2.0}, TypeError),
        ({"n_filters": (32, 64, 256, 0)}, ValueError),
        ({"kernel_sizes": (3, 3, 3, 4)}, ValueError),
        ({"kernel_sizes": (3, 3, 3, -3)}, ValueError),
        ({"kernel_sizes": ()}, ValueError),
        ({"strides": (2, 2, 2, 0)}, ValueError),
        ({"dense_units": 0}, ValueError),
        ({"z_dim": None}, TypeError),
        ({"n_mels": 0}, ValueError),
        ({"n_fft": 2048.0}, TypeError),
        ({"sample_rate": -22050}, ValueError),
        ({"time_smoothing": -1}, ValueError),
        ({"time_smoothing": "no"}, TypeError),
        ({"time_smoothing": float("nan")}, ValueError),
        ({"time_smoothing": float("inf")}, ValueError),
        ({"time_smoothing": 1e6}, ValueError),
        ({"standardize": "yes"}, TypeError),
        ({"n_mels": 2000}, ValueError),
        ({"n_fft": 2**17}, ValueError),
        ({"dropout": 2}, ValueError),
    ],
    ids=str,
)
def test_invalid_parameters_of_conv2d_are_named(change, error):
    with pytest.raises(error, match=next(iter(change))):
        Conv2dEncoder(**change)(88200, 30)


def test_windows_shorter_than_the_convolutions_are_refused():
    with pytest.raises(ValueError, match=r"windows have 464 samples \(13920 samples in 30 steps\)") as error:
        Conv1dEncoder()(464 * 30, 30)
    assert "needs at least 465" in str(error.value)
    assert "use longer clips" in str(error.value)
    assert Conv1dEncoder(n_filters=2)(465 * 30, 30).eval()(torch.zeros(1, 465 * 30)).shape == (1, 30, 256)


@pytest.mark.parametrize(
    ("kernel_sizes", "strides"), [((3,), (2,)), ((5, 3), (1, 4)), ((1, 1), (7, 2)), ((2, 9, 4), (3, 2, 5))]
)
def test_shortest_window_gives_one_output(kernel_sizes, strides):
    recipe = clone(CONV1D).set_params(kernel_sizes=kernel_sizes, strides=strides)
    reach = 1
    for kernel, stride in zip(kernel_sizes[::-1], strides[::-1], strict=True):
        reach = (reach - 1) * stride + kernel
    assert recipe(reach, 1).eval()(torch.zeros(1, reach)).shape == (1, 1, 5)
    with pytest.raises(ValueError, match=f"needs at least {reach};"):
        recipe(reach - 1, 1)


def test_clips_with_fewer_samples_than_frames_are_refused():
    with pytest.raises(ValueError, match="clips have 1919 samples but 30 windows of 64 frames need at least 1920"):
        Conv2dEncoder()(1919, 30)
