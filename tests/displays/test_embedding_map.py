"""EmbeddingMap: what its page holds, and what the page does in a browser."""

import html
import json
import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import soundfile
from browser import Browser, find_browser
from corpus import small_cpc
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA

from sklearn_cpc.archive import cut_windows
from sklearn_cpc.audio.reading import UnreadableAudioError
from sklearn_cpc.displays import EmbeddingMap

RANDOM = np.random.default_rng(0)
EMBEDDINGS = RANDOM.standard_normal((12, 5)) + 1
RATE = 8000
HOSTILE = '</script><img src=x onerror="window.hacked = 1">&lt;\'"é,\n{{ 1 }}'


class Keep(BaseEstimator):
    """Keeps the first two features."""

    def fit_transform(self, X, y=None):
        return X[:, :2]


def write_tone(path, duration=0.5, rate=RATE):
    seconds = np.arange(round(duration * rate)) / rate
    soundfile.write(os.fsencode(path), 0.3 * np.sin(2 * np.pi * 440 * seconds), rate)
    return str(path)


def durations(n):
    return 0.5 + 0.25 * np.arange(n)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Twelve recordings that differ in duration; the names of some are odd."""
    folder = tmp_path_factory.mktemp("recordings")
    names = [f"{i:02d}.wav" for i in range(12)]
    if sys.platform.startswith("linux"):
        names[1], names[2] = "<b onclick='hacked=1'>&amp; \"é\" #?%41.wav", os.fsdecode(b"caf\xe9.wav")
    return [write_tone(folder / name, duration) for name, duration in zip(names, durations(12), strict=True)]


def make_map(X, **how):
    return EmbeddingMap.from_embeddings(EMBEDDINGS, X, projection=Keep(), **how)


def read_page(path):
    """Return what the script of a page is given."""
    text = Path(path).read_text(encoding="utf-8")
    content = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)[1]
    found = []

    def decode(value):
        if isinstance(value, list):
            return [decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.get("type") == "map":
            return {decode(key): decode(item) for key, item in value.get("entries", [])}
        if value.get("type") == "number":
            return float(value["value"])
        if value.get("name") == "CustomJS":
            found.append(decode(value["attributes"]["args"]))
        return {key: decode(item) for key, item in value.items()}

    decode(json.loads(html.unescape(content)))
    return found[0]


# What a map holds


def test_neighbours_are_the_most_similar_by_cosine():
    X = RANDOM.standard_normal((60, 7))
    display = EmbeddingMap.from_embeddings(X, paths=["a.wav"] * 60, projection=PCA(2))
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    similarities = unit @ unit.T
    np.fill_diagonal(similarities, -np.inf)
    np.testing.assert_array_equal(display.neighbours, np.argsort(-similarities, axis=1)[:, :10])


def test_same_seed_gives_same_points(paths):
    first, second = (EmbeddingMap.from_embeddings(EMBEDDINGS, paths, random_state=1).points for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_rows_with_nan_are_left_out(paths):
    broken = EMBEDDINGS.copy()
    broken[[2, 7], 0] = np.nan
    with pytest.warns(UserWarning, match="2 of 12 rows of embeddings are left out"):
        display = EmbeddingMap.from_embeddings(broken, paths, labels=list("abcdefghijkl"), projection=Keep())
    assert display.windows["row"].tolist() == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11]
    assert display.windows["label"].tolist() == list("abdefgijkl")
    assert display.windows["path"].tolist() == [paths[row] for row in (0, 1, 3, 4, 5, 6, 8, 9, 10, 11)]
    assert display.points.shape == (10, 2)
    assert display.neighbours.max() == 9


def test_a_table_of_windows_is_accepted(paths):
    windows = cut_windows(paths[3:8], 0.5)[:12]
    display = make_map(windows)
    for name in ("path", "onset", "duration"):
        assert display.windows[name].tolist() == windows[name].tolist()


def test_an_estimator_embeds_the_recordings(corpus):
    cpc = small_cpc().fit(corpus.paths)
    display = EmbeddingMap.from_estimator(cpc, corpus.paths, labels=corpus.y, projection=Keep())
    expected = EmbeddingMap.from_embeddings(cpc.transform(corpus.paths), corpus.paths, projection=Keep())
    np.testing.assert_array_equal(display.points, expected.points)


def test_one_window_is_a_map(paths, tmp_path):
    display = EmbeddingMap.from_embeddings(EMBEDDINGS[:1], paths[:1])
    assert display.points.shape == (1, 2)
    display.save(tmp_path / "map.html")


@pytest.mark.parametrize(
    ("message", "X", "how"),
    [
        ("paths has 3 rows, but embeddings have 12", ["a.wav", "b.wav", "c.wav"], {}),
        ("label has 2 rows, but embeddings have 12", ["a.wav"] * 12, {"labels": [0, 1]}),
        ("site has 1 rows", ["a.wav"] * 12, {"columns": {"site": [0]}}),
    ],
)
def test_rows_that_do_not_match_are_refused(message, X, how):
    with pytest.raises(ValueError, match=message):
        make_map(X, **how)


def test_samples_are_refused_as_they_have_no_file_to_play():
    with pytest.raises(TypeError, match="paths must be paths or clips of recordings"):
        make_map(np.zeros((12, 9)))


@pytest.mark.parametrize("name", ["label", "path", "onset", "duration", "row"])
def test_columns_that_would_replace_others_are_refused(name):
    with pytest.raises(ValueError, match=f"columns may not be named {name}: "):
        make_map(["a.wav", "b.wav"], labels=[0, 1], columns={name: [0, 1]})


def test_too_many_rows_are_refused_with_advice():
    with pytest.raises(ValueError, match=r"20000 rows at most, not 20001. Draw a sample.*choice\(20001, 20000"):
        EmbeddingMap.from_embeddings(np.zeros((20_001, 2)), ["a.wav"] * 20_001)


# What its page holds


def test_the_page_has_a_sound_and_an_image_of_each_window(paths, tmp_path):
    make_map(paths).save(tmp_path / "map.html", n_jobs=2)
    windows = read_page(tmp_path / "map.html")["windows"]
    assert all(sound.startswith("data:audio/mpeg;base64,") for sound in windows["sound"])
    assert all(image.startswith("data:image/jpeg;base64,") for image in windows["thumbnail"])
    assert windows["row"] == list(range(12))


def test_sounds_stay_within_the_space_and_others_play_from_files(paths, tmp_path):
    page = tmp_path / "folder" / "map.html"
    page.parent.mkdir()
    windows = [(path, 0.25, 0.125) for path in paths]
    make_map(windows).save(page, megabytes=0.012)
    found = read_page(page)["windows"]
    n_bytes = sum(map(len, found["thumbnail"])) + sum(
        len(one) for one in found["sound"] if one.startswith("data:")
    )
    assert 6000 < n_bytes <= 12_000
    files = [(path, url) for path, url in zip(paths, found["sound"], strict=True) if not url.startswith("data:")]
    assert 0 < len(files) < 12
    make_map(windows).save(page, megabytes=0)
    for path, url in zip(paths, read_page(page)["windows"]["sound"], strict=True):
        relative, _, times = url.partition("#t=")
        assert times == "0.250,0.375"
        assert os.path.samefile(page.parent / unquote(relative, errors="surrogateescape"), path)


def test_windows_without_any_sound_are_reported(tmp_path):
    paths = [write_tone(tmp_path / f"{i}.aiff") for i in range(12)]
    with pytest.warns(UserWarning, match="12 of 12 windows have no sound for want of space"):
        make_map(paths).save(tmp_path / "map.html", megabytes=0)
    make_map(paths).save(tmp_path / "map.html")
    assert all(read_page(tmp_path / "map.html")["windows"]["sound"])


def test_unusable_recordings_are_listed(paths, tmp_path):
    display = make_map([*paths[:11], str(tmp_path / "missing.wav")])
    with pytest.raises(UnreadableAudioError, match=r"missing.wav: does not exist"):
        display.save(tmp_path / "map.html")
    assert not (tmp_path / "map.html").exists()
    with pytest.warns(UserWarning, match=r"1 of 12 recordings .* no sound:\n.*missing.wav"):
        display.save(tmp_path / "map.html", on_error="nan")


def test_columns_become_colour_bars_or_categories(paths, tmp_path):
    numbers = np.array([0.0, np.nan, *np.linspace(0.5, 2, 10)])
    columns = {
        "score": numbers,
        "date": pd.date_range("2026-01-01", periods=12),
        "cluster": np.arange(12) % 3,
        3: ["x", None] * 6,
    }
    make_map(paths, columns=columns).save(tmp_path / "map.html")
    found = {column["name"]: column for column in read_page(tmp_path / "map.html")["columns"]}
    assert list(found) == ["score", "date", "cluster", "3", "path", "onset", "duration", "row"]
    assert found["score"]["ends"] == ["0", "2"]
    assert found["score"]["codes"][:3] == [0, -1, 64]
    assert found["score"]["codes"][-1] == 255
    assert found["date"]["ends"] == ["2026-01-01 00:00:00", "2026-01-12 00:00:00"]
    assert found["cluster"]["names"] == ["0", "1", "2"]
    assert found["cluster"]["codes"] == [0, 1, 2] * 4
    assert found["3"]["names"] == ["", "x"]


def test_integers_of_many_values_have_a_colour_bar_and_rare_classes_keep_their_names(paths, tmp_path):
    X = RANDOM.standard_normal((200, 3))
    columns = {"many": np.arange(200), "classes": [f"class {i // 2}" for i in range(200)]}
    display = EmbeddingMap.from_embeddings(X, paths[3:4] * 200, columns=columns, projection=Keep())
    display.save(tmp_path / "map.html")
    many, classes = read_page(tmp_path / "map.html")["columns"][:2]
    assert many["ends"] == ["0", "199"]
    assert [classes["names"][code] for code in classes["codes"]] == columns["classes"]


def test_a_page_that_fails_leaves_the_one_before(paths, tmp_path, monkeypatch):
    page = tmp_path / "map.html"
    page.write_text("before")
    monkeypatch.setattr("bokeh.embed.file_html", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_map(paths).save(page)
    assert page.read_text() == "before"
    assert os.listdir(tmp_path) == ["map.html"]


def test_an_error_names_the_extra(paths, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(ImportError, match=r"needs bokeh; install it with pip install 'sklearn-cpc\[map\]'"):
        make_map(paths).save(tmp_path / "map.html")


# What its page does


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    path = find_browser()
    if path is None and os.environ.get("SKLEARN_CPC_BROWSER") == "required":
        pytest.fail("SKLEARN_CPC_BROWSER=required, but there is no browser")
    if path is None or sys.platform == "win32":
        pytest.skip("no Chromium is installed")
    browser = Browser(path, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def url(paths, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "map.html"
    labels = [HOSTILE, "a", None] * 4
    make_map(paths, labels=labels, columns={"score": np.arange(12) / 11}).save(path)
    return path.as_uri()


def open_page(browser, url, **size):
    browser.open(url, **size)
    browser.wait_for("document.getElementById('colour')?.options.length && Bokeh.documents[0].is_idle")
    browser.run("void (globalThis.plot = Bokeh.documents[0].get_model_by_name('plot'))")


def locate(browser, point):
    """Return the pixel of a point on the screen."""
    script = """
    (() => {
      const view = Bokeh.index.find_one(plot), {x, y} = plot.renderers[0].data_source.data
      const box = view.el.getBoundingClientRect()
      return [box.left + view.frame.x_scale.compute(x[POINT]), box.top + view.frame.y_scale.compute(y[POINT])]
    })()"""
    return browser.run(script.replace("POINT", str(point)))


def drawn(browser, field):
    """Return the values of a field of all points."""
    return browser.run(f"[...plot.renderers[0].data_source.data.{field}]")


def text_in(browser, element):
    return browser.run(f"document.getElementById('{element}').textContent")


def errors(browser):
    """Errors, and requests of anything but the page."""
    return [
        event
        for method, event in browser.events
        if method == "Runtime.exceptionThrown"
        or (method == "Log.entryAdded" and event["entry"]["level"] == "error")
        or (method == "Runtime.consoleAPICalled" and event["type"] == "error")
        or (method == "Network.requestWillBeSent" and not event["request"]["url"].startswith(("file:", "data:")))
    ]


def wait_for_sound(browser):
    browser.wait_for("document.getElementById('state').textContent === '▶ Playing'")
    return browser.run("document.getElementById('player').duration")


def test_a_click_plays_the_window(browser, url):
    open_page(browser, url)
    for point in (3, 0, 11):
        browser.click(*locate(browser, point))  # faster than a double click
        browser.wait_for(f"document.getElementById('current').textContent.includes('/{point:02d}.wav')")
        assert wait_for_sound(browser) == pytest.approx(durations(12)[point], abs=0.1)
        assert browser.run("!document.getElementById('player').paused")
    assert errors(browser) == []


def test_a_slow_click_plays_the_window(browser, url):
    open_page(browser, url)
    spot = locate(browser, 5)
    for kind in ("mouseMoved", "mousePressed"):
        browser.mouse(kind, *spot)
    browser.wait_for("document.getElementById('current').textContent.includes('/05.wav')")
    browser.mouse("mouseReleased", *spot)
    assert wait_for_sound(browser) == pytest.approx(durations(12)[5], abs=0.1)


def test_hovering_shows_the_window_but_plays_nothing(browser, url):
    open_page(browser, url)
    browser.mouse("mouseMoved", *locate(browser, 4))
    browser.wait_for("!document.getElementById('tip').hidden")
    assert "/04.wav" in text_in(browser, "tip")
    assert browser.run("document.querySelector('#tip img').naturalWidth") == 96
    assert browser.run("document.getElementById('player').paused")


def test_texts_of_the_user_are_harmless(browser, url, paths):
    open_page(browser, url)
    for point in (0, 1, 2):
        browser.click(*locate(browser, point))
        browser.wait_for(
            f"plot.renderers.at(-1).data_source.data.x[0] === plot.renderers[0].data_source.data.x[{point}]"
        )
        wait_for_sound(browser)
        name = os.path.basename(paths[point]).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        shown = text_in(browser, "current").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        shown = re.sub("\ufffd+", "\ufffd", shown)
        assert f"/{name}" in shown
        assert shown.endswith([HOSTILE, "a", name][point])
    assert HOSTILE in text_in(browser, "legend")
    assert browser.run("typeof hacked") == "undefined"
    assert browser.run("document.querySelectorAll('#side img, #side b, script[src]').length") == 1
    assert errors(browser) == []


def test_the_lasso_exports_the_rows_inside(browser, url, paths, tmp_path):
    open_page(browser, url)
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.run("plot.toolbar.tools.find(tool => tool.type.startsWith('Lasso')).active = true")
    spots = np.array([locate(browser, point) for point in range(12)])
    x = sorted(spots[:, 0])
    left, right = (x[1] + x[2]) / 2, (x[7] + x[8]) / 2
    top, bottom = spots[:, 1].min() - 12, spots[:, 1].max() + 12
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    browser.mouse("mouseMoved", *corners[0])
    browser.mouse("mousePressed", *corners[0])
    for start, stop in zip(corners, [*corners[1:], corners[0]], strict=True):
        for share in np.linspace(0.1, 1, 10):
            x, y = np.add(np.multiply(start, 1 - share), np.multiply(stop, share))
            browser.mouse("mouseMoved", x, y, button="left", buttons=1)
    browser.mouse("mouseReleased", *corners[0])
    inside = np.flatnonzero((spots[:, 0] >= left) & (spots[:, 0] <= right))
    assert len(inside) == 6
    browser.wait_for("document.getElementById('count').textContent === '6 selected'")
    box = browser.run("(({x, y}) => [x + 9, y + 9])(document.getElementById('save').getBoundingClientRect())")
    browser.click(*box)
    file = tmp_path / "selected.csv"
    for _ in range(500):
        if file.exists() and file.stat().st_size:
            break
        browser.run("new Promise(done => setTimeout(done, 20))")
    table = pd.read_csv(file, keep_default_na=False)
    assert list(table) == ["path", "onset", "duration", "label", "row"]
    assert table["row"].tolist() == inside.tolist()
    expected = [paths[row].encode("utf-8", "surrogateescape").decode("utf-8", "replace") for row in inside]
    assert table["path"].tolist() == expected
    assert table["label"].tolist() == [[HOSTILE, "a", ""][row % 3] for row in inside]
    assert set(table["onset"]) == {0}
    assert set(table["duration"]) == {""}  # to the end


def test_search_finds_names_and_labels(browser, url):
    open_page(browser, url)
    browser.run("document.getElementById('search').focus()")
    browser.write("11.WAV")
    assert text_in(browser, "count") == "1 selected"
    assert "11.wav" in text_in(browser, "selected")
    browser.press("Escape")
    assert text_in(browser, "count") == "Nothing is selected"
    browser.write("onerror")
    assert text_in(browser, "count") == "4 selected"
    assert browser.run("[...plot.renderers[0].data_source.selected.indices]") == [0, 3, 6, 9]


def test_the_keyboard_walks_over_the_map(browser, url, tmp_path):
    open_page(browser, url)
    spots = np.array([locate(browser, point) for point in range(12)])
    current = int(np.argmin(np.abs(spots - np.median(spots, axis=0)).sum(axis=1)))
    browser.click(*spots[current])
    wait_for_sound(browser)
    assert browser.run("document.activeElement.id") == "map"
    browser.press("ArrowRight")
    ring = browser.run("plot.renderers.at(-1).data_source.data.x[0]")
    x = np.array(browser.run("[...plot.renderers[0].data_source.data.x]"))
    arrived = int(np.argmin(np.abs(x - ring)))
    right, down = (spots - spots[current]).T
    distance = np.hypot(right, down)
    is_straighter = right / np.maximum(distance, 1) > right[arrived] / distance[arrived]
    assert right[arrived] > 0
    assert not ((distance < distance[arrived]) & is_straighter).any()
    most_similar = int(make_map([f"{i}" for i in range(12)]).neighbours[arrived][0])
    browser.press("n")
    if most_similar != current:
        assert browser.run("plot.renderers.at(-1).data_source.data.x[0]") == x[most_similar]
    browser.wait_for(
        "document.getElementById('player').ended || document.getElementById('player').currentTime > 0.2"
    )
    browser.press(" ")
    wait_for_sound(browser)
    browser.press("Escape")
    browser.wait_for("document.getElementById('state').textContent === 'Stopped'")
    assert browser.run("document.getElementById('player').paused")
    assert errors(browser) == []


def test_a_similar_window_in_the_list_plays_and_keeps_the_focus(browser, url):
    open_page(browser, url)
    browser.click(*locate(browser, 5))
    wait_for_sound(browser)
    neighbour = int(make_map([f"{i}" for i in range(12)]).neighbours[5][0])
    browser.run("document.querySelector('#neighbours button').focus()")
    browser.press("Enter")
    assert wait_for_sound(browser) == pytest.approx(durations(12)[neighbour], abs=0.1)
    assert browser.run("document.querySelector('#neighbours').contains(document.activeElement)")


def test_colours_follow_the_chosen_column(browser, url):
    open_page(browser, url)
    assert len(set(drawn(browser, "marker"))) == 3
    browser.run("document.getElementById('colour').selectedIndex = 1")
    browser.run("document.getElementById('colour').onchange({target: document.getElementById('colour')})")
    assert len(set(drawn(browser, "colour"))) == 12
    assert text_in(browser, "low") + text_in(browser, "high") == "01"
    browser.run("document.getElementById('colour').selectedIndex = 0")
    browser.run("document.getElementById('colour').onchange({target: document.getElementById('colour')})")
    browser.run("document.querySelectorAll('#legend button')[2].click()")
    assert text_in(browser, "count") == "4 selected"


def test_a_stretch_of_a_file_plays(browser, tmp_path):
    path = write_tone(tmp_path / "long tone #1.wav", duration=4.0)
    make_map([(path, 0.1 * i, 0.5) for i in range(12)]).save(tmp_path / "map.html", megabytes=0)
    open_page(browser, (tmp_path / "map.html").as_uri())
    browser.click(*locate(browser, 11))
    browser.wait_for("document.getElementById('player').currentTime > 1.2")
    browser.wait_for("document.getElementById('player').paused")
    assert browser.run("document.getElementById('player').currentTime") == pytest.approx(1.6, abs=0.3)
    os.remove(path)
    open_page(browser, (tmp_path / "map.html").as_uri())
    browser.click(*locate(browser, 11))
    browser.wait_for("document.getElementById('state').textContent.includes('its file is not there')")


def test_narrow_screens_need_no_sideways_scrolling(browser, url):
    for width in (320, 400, 1280):
        open_page(browser, url, width=width)
        assert browser.run("document.documentElement.scrollWidth") <= width


def test_ten_thousand_points_move_fluidly(browser, tmp_path):
    rows = np.arange(10_000)
    windows = {
        "label": rows % 9,
        "path": rows.astype(str),
        "onset": rows * 0.0,
        "duration": rows * 0.0,
        "row": rows,
    }
    display = EmbeddingMap(RANDOM.standard_normal((10_000, 2)), rows[:, None], windows)
    with pytest.warns(UserWarning, match="10000 of 10000 windows have no sound"):
        display.save(tmp_path / "map.html", megabytes=0)
    open_page(browser, (tmp_path / "map.html").as_uri())
    script = """
    (async () => {
      const frame = () => new Promise(requestAnimationFrame), times = []
      for (let i = 0; i < 5; i++) {
        const start = performance.now()
        plot.x_range.setv({start: plot.x_range.start + 0.05, end: plot.x_range.end + 0.05})
        await frame()
        await frame()
        times.push(performance.now() - start)
      }
      return times
    })()"""
    assert min(browser.run(script)) < 500  # ms; 70 on two busy cores without a graphics card
    assert errors(browser) == []
