"""The page of an EmbeddingMap: sounds and spectrograms as data URIs, colours, and the HTML around them."""

import base64
import io
import os
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import soundfile
import soxr
from pandas.api import types

from .._extras import import_extra
from .._librosa import import_librosa
from .._warnings import warn
from ..audio.store import map_in_threads
from ._drawing import COLOURS
from .recording import DYNAMIC_RANGE, measure_mel

PLAYED_BY_BROWSERS = (".wav", ".mp3", ".ogg", ".oga", ".opus", ".flac")
MP3_RATES = 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000  # Hz
MIN_MP3_BYTES = 1000  # per second of sound
MIN_BYTES = 500  # of a spectrogram
THUMBNAIL_SIZE = 96, 60  # pixels
SHAPES = {"circle": "●", "square": "■", "triangle": "▲", "diamond": "◆"}  # bokeh's markers, in a legend
SHAPES |= {"inverted_triangle": "▼", "plus": "✚", "star": "★"}
MAX_CATEGORIES = len(COLOURS) * len(SHAPES)  # each has its own pair of both
MISSING = "#999999"
NO_SPACE = "The page has no space for this sound; save the map with more megabytes."


class Media:
    """Sounds and spectrograms of points as data URIs, as far as there is space.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    space : dict of {str: float}
        Bytes for each "thumbnail" and each "sound" together.
    """

    def __init__(self, sample_rate, space):
        self.sample_rate, self.space = sample_rate, space
        self.uris: dict[str, dict[int, str]] = {kind: {} for kind in space}  # by number of point

    def has_space(self):
        """Whether there is space for another one."""
        return max(self.space.values()) > MIN_BYTES

    def add(self, sounds, n_threads):
        """Encode pairs of a point's number and its samples."""
        import_librosa()  # not first in a thread
        for point, uris in map_in_threads(self._encode, sounds, n_threads):
            for kind, uri in uris.items():
                if len(uri) <= self.space[kind]:
                    self.uris[kind][point] = uri
                    self.space[kind] -= len(uri)

    def _encode(self, sound):
        point, samples = sound
        uris = {}
        if self.space["thumbnail"] > MIN_BYTES:
            uris["thumbnail"] = _encode_uri("image/jpeg", _draw_thumbnail(samples, self.sample_rate))
        if self.space["sound"] > MIN_MP3_BYTES * len(samples) / self.sample_rate:
            uris["sound"] = _encode_uri("audio/mpeg", _encode_mp3(samples, self.sample_rate))
        return point, uris


def _encode_uri(kind, content):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _draw_thumbnail(samples, sample_rate):
    """Return a small mel spectrogram as a JPEG file."""
    from PIL import Image

    decibels = measure_mel(samples, sample_rate, *THUMBNAIL_SIZE)[0]
    grey = np.clip(255 * (1 + decibels[::-1] / DYNAMIC_RANGE), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).resize(THUMBNAIL_SIZE).save(file, "JPEG", quality=50, optimize=True)
    return file.getvalue()


def _encode_mp3(samples, sample_rate):
    """Return an mp3 file, at the lowest rate of mp3 that keeps all frequencies that people hear."""
    mp3_rate = next((rate for rate in MP3_RATES if rate >= sample_rate), MP3_RATES[-1])
    if mp3_rate != sample_rate:
        samples = soxr.resample(samples, sample_rate, mp3_rate)
    file = io.BytesIO()
    soundfile.write(file, samples / max(1.0, np.abs(samples).max()), mp3_rate, format="MP3")
    return file.getvalue()


def write_page(display, media, unusable, folder):
    """Return the HTML page of an EmbeddingMap, to be saved in a folder."""
    models, document, embedding, plotting, resources = (
        import_extra(f"bokeh.{name}", "map") for name in ("models", "document", "embed", "plotting", "resources")
    )
    n_points, windows = len(display.points), display.windows
    sounds, notes = _list_sounds(display, media, unusable, folder)
    paths = [path.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for path in windows["path"]]
    n_shared = os.path.commonprefix(paths).replace("\\", "/").rfind("/") + 1
    labels = display.columns.get("label", pd.Series([None] * n_points))
    source = models.ColumnDataSource(
        {
            **{"x": display.points[:, 0], "y": display.points[:, 1], "row": windows["row"].to_numpy()},
            **{"colour": [MISSING] * n_points, "marker": ["circle"] * n_points},  # until the page is loaded
            "path": paths,
            "onset": windows["onset"].to_numpy(),
            "duration": windows["duration"].to_numpy(),
            "label": [_as_text(label) for label in labels],
            "name": [path[n_shared:] for path in paths],
            "place": [_describe_time(*times) for times in zip(windows["onset"], windows["duration"], strict=True)],
            "thumbnail": [media.uris["thumbnail"].get(point, "") for point in range(n_points)],
            "sound": sounds,
            "note": notes,
        }
    )
    ring = models.ColumnDataSource({"x": [], "y": []})
    plot = plotting.figure(
        name="plot",
        output_backend="webgl",
        sizing_mode="stretch_both",
        match_aspect=True,
        tools="pan,wheel_zoom,lasso_select,reset",
        active_scroll="wheel_zoom",
    )
    plot.toolbar.logo = None
    plot.axis.visible = plot.grid.visible = False
    size = float(np.clip(200 / np.sqrt(n_points), 5, 11))
    style = {"fill_color": "colour", "line_color": "white", "line_width": 0.5, "fill_alpha": 0.85}
    plot.scatter("x", "y", source=source, marker="marker", size=size, nonselection_alpha=0.12, **style)
    plot.scatter("x", "y", source=ring, size=22, fill_color=None, line_color="black", line_width=3)
    script = models.CustomJS(
        args={
            "plot": plot,
            "windows": source,
            "ring": ring,
            "columns": [_style_column(name, display.columns[name]) for name in display.columns],
            "neighbours": display.neighbours.tolist(),
            "similarities": display.similarities.round(3).tolist(),
        },
        code=_read_resource("map.js"),
    )
    page = document.Document()
    page.add_root(plot)
    page.js_on_event("document_ready", script)
    return embedding.file_html(
        page,
        resources.INLINE,
        "Map of sounds",
        template=_read_resource("map.html"),
        template_variables={"summary": f"{n_points} windows, {display.name}"},
    )


def _read_resource(name):
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _list_sounds(display, media, unusable, folder):
    """Return the URL of each point's sound, or "", and a note on why there is none."""
    sounds, notes = [], []
    for point, clip in enumerate(display.windows[["path", "onset", "duration"]].itertuples(index=False)):
        sound, note = media.uris["sound"].get(point, ""), ""
        extension = os.path.splitext(clip.path)[1].lower()
        if clip.path in unusable:
            note = "This recording cannot be used."
        elif not sound and display.samples is None and extension in PLAYED_BY_BROWSERS:
            sound = _find_url(*clip, folder)
        elif not sound:
            note = NO_SPACE if display.samples else f"Browsers do not play {extension} files. {NO_SPACE}"
        sounds.append(sound)
        notes.append(note)
    if n_silent := sum(NO_SPACE in note for note in notes):
        warn(
            f"{n_silent} of {len(notes)} windows have no sound: the page has no space for it, and there are no "
            "files that browsers play; save the map with more megabytes."
        )
    return sounds, notes


def _find_url(path, onset, duration, folder):
    """Return the URL of a stretch of a file, relative to a folder where that is possible."""
    try:
        url = quote(os.fsencode(os.path.relpath(path, folder).replace(os.sep, "/")))
    except ValueError:  # another drive of Windows
        url = Path(os.path.abspath(path)).as_uri()
    end = "" if np.isnan(duration) else f",{onset + duration:.3f}"
    return f"{url}#t={onset:.3f}{end}"


def _describe_time(onset, duration):
    if np.isnan(duration):
        return f"from {onset:.2f} s" if onset else ""
    return f"{onset:.2f} to {onset + duration:.2f} s"


def _as_text(value):
    return "" if pd.isna(value) else str(value)


def _style_column(name, values):
    """Return what a page needs to colour points by a column: the style of each point, and the legend."""
    is_date = types.is_datetime64_any_dtype(values)
    is_many = types.is_integer_dtype(values) and values.nunique() > MAX_CATEGORIES
    if is_date or is_many or types.is_float_dtype(values):
        return _style_numbers(name, values if is_date else values.replace([np.inf, -np.inf], np.nan))
    texts = values.map(_as_text)
    counts = texts[texts != ""].value_counts()
    known = sorted(counts.index[:MAX_CATEGORIES])
    codes = texts.map({text: code for code, text in enumerate(known)}).fillna(len(known)).astype(int)
    entries = [f"{text} ({counts[text]})" for text in known]
    if n_others := int((codes == len(known)).sum()):
        entries.append(f"others, unknown ({n_others})")
    return {
        "name": name,
        "codes": codes.tolist(),
        "colours": [*islice(cycle(COLOURS), len(known)), MISSING],
        "markers": [*islice(cycle(SHAPES), len(known)), "circle"],
        "symbols": [*islice(cycle(SHAPES.values()), len(known)), "●"],
        "entries": entries,
    }


def _style_numbers(name, values):
    """Return the same for numbers or dates, with the ends of a colour bar instead of entries."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    ends = [values.min(), values.max()]
    span = ends[1] - ends[0]
    shares = (values - ends[0]) / span if span else values.notna() * 0.0
    codes = (255 * shares.astype(float)).round().fillna(256).astype(int)
    return {
        "name": name,
        "codes": codes.where(values.notna(), 256).tolist(),
        "colours": [*map(to_hex, colormaps["cividis"](range(256))), MISSING],
        "markers": ["circle"] * 257,
        "ends": [f"{end:g}" if isinstance(end, (int, float, np.number)) else str(end) for end in ends],
    }
