"""EmbeddingMap: a page that shows embeddings as points in a plane and plays the sound of each."""

import base64
import io
import os
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import joblib
import numpy as np
import soundfile
import soxr
from scipy.signal import spectrogram
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array

from .._extras import import_extra
from .._files import atomic_write, is_url
from .._warnings import warn
from ..audio.clips import Clip, as_clips
from ..audio.files import base_name
from ..audio.reading import UnreadableAudioError
from ..audio.store import AudioSource, map_in_threads
from ._drawing import COLOURS
from .embedding import DTYPES, embed, find_finite_rows, project

MAX_POINTS = 20_000
N_NEIGHBOURS = 10
SHAPES = {"circle": "●", "square": "■", "triangle": "▲", "diamond": "◆", "inverted_triangle": "▼"}  # in a legend
SHAPES |= {"plus": "✚", "star": "★"}  # their number and that of the colours have no common factor
MAX_CATEGORIES = len(COLOURS) * len(SHAPES)
BATCH = 1024  # points whose recordings are read together
MIN_BYTES, MIN_BYTES_PER_SECOND = 5000, 1000  # of a point's sound: with less space, none is made
RATE = 24_000  # Hz, of sounds in the page
THUMBNAIL_SIZE = 96, 60  # pixels
N_FFT = 512  # samples, of its spectrogram
BROWSER_FORMATS = ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"


class EmbeddingMap:
    """Embeddings as points in a plane, on a page that plays the sound of each point.

    Create a map with :meth:`from_estimator` or :meth:`from_embeddings`, and write its page with :meth:`save`.

    Parameters
    ----------
    points : float ndarray of shape (n_points, 2)
        Positions.
    neighbours : int ndarray of shape (n_points, n_neighbours)
        The points with the most similar embeddings, best first.
    windows : dict of {str: ndarray of shape (n_points,)}
        ``path``, ``onset`` and ``duration`` in seconds (NaN: to the end), ``row`` of what was embedded, and
        whatever else points can be coloured by.

    Examples
    --------
    >>> from sklearn_cpc.displays import EmbeddingMap
    >>> display = EmbeddingMap.from_estimator(cpc, windows, labels=y)  # doctest: +SKIP
    >>> display.save("map.html")  # doctest: +SKIP
    """

    def __init__(self, points, neighbours, windows):
        self.points = points
        self.neighbours = neighbours
        self.windows = windows

    @classmethod
    def from_estimator(cls, estimator, paths, **kwargs):
        """Embed recordings with a fitted transformer, and project the embeddings.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            If a Pipeline ends in a classifier, only the steps before it are used.
        paths : sequence of paths or clips, or table of windows
        **kwargs : further parameters of :meth:`from_embeddings`

        Returns
        -------
        EmbeddingMap

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If the estimator is not fitted or has no ``transform``, or as in :meth:`from_embeddings`.
        """
        return cls.from_embeddings(embed(estimator, paths), paths, **kwargs)

    @classmethod
    def from_embeddings(cls, embeddings, paths, *, labels=None, columns=None, projection=None, random_state=None):
        """Project embeddings, and find the 10 most similar ones of each by cosine similarity.

        Parameters
        ----------
        embeddings : array-like of shape (n_windows, n_features)
            At most 20,000 rows. Rows with NaN, such as those of unusable recordings, are left out with a warning.
        paths : sequence of paths or clips, or table of windows
            What was embedded, such as the table of :func:`~sklearn_cpc.archive.read_archive`.
        labels : array-like of shape (n_windows,), default=None
            Classes; missing values are unknown.
        columns : DataFrame or dict of {str: array-like of shape (n_windows,)}, default=None
            What else points can be coloured by: clusters, sites, scores, dates. Floats, dates and integers of
            more than 70 values have a colour bar, others are categories.
        projection : estimator with fit_transform, default=None
            As in :meth:`EmbeddingDisplay.from_embeddings`: t-SNE of 20,000 rows takes minutes, ``PCA(2)`` seconds.
        random_state : int, RandomState instance or None, default=None
            Seeds t-SNE, but not a ``projection`` of your own.

        Returns
        -------
        EmbeddingMap

        Raises
        ------
        TypeError, ValueError
            If there are too many rows, their numbers do not match, all hold NaN, or ``paths`` are invalid.
        """
        n_rows = len(embeddings)
        if n_rows > MAX_POINTS:
            raise ValueError(
                f"a map shows {MAX_POINTS} rows at most, not {n_rows}. Draw a sample, for example rows = np.sort("
                f"np.random.default_rng(0).choice({n_rows}, {MAX_POINTS}, replace=False)); pass embeddings[rows] "
                "with the same rows of paths (paths.iloc[rows] of a table), labels and columns."
            )
        embeddings = check_array(embeddings, dtype=DTYPES, ensure_all_finite=False, input_name="embeddings")
        clips = as_clips(paths)
        if clips is None:
            raise TypeError("paths must be paths or clips of recordings, to be played; write samples to files.")
        path, onset, duration = zip(*clips, strict=True)
        windows = {} if labels is None else {"label": labels}
        played = {"path": path, "onset": onset, "duration": np.array(duration, float), "row": range(len(clips))}
        columns = {} if columns is None else dict(columns)
        if taken := sorted(columns.keys() & (windows | played)):
            raise ValueError(f"columns may not be named {', '.join(taken)}: the map has such a column already.")
        windows |= columns | played
        for name, values in windows.items():
            if len(values) != n_rows:
                name = "paths" if name == "path" else name
                raise ValueError(f"{name} has {len(values)} rows, but embeddings have {n_rows}; they must agree.")
        rows = find_finite_rows(embeddings, "embeddings")
        points, _ = project(embeddings[rows], projection, check_random_state(random_state))
        search = NearestNeighbors(metric="cosine", algorithm="brute").fit(embeddings[rows])
        n_neighbours = min(N_NEIGHBOURS, len(rows) - 1)
        neighbours = search.kneighbors(None, n_neighbours, False) if n_neighbours else np.empty((1, 0), int)
        windows = {str(name): np.asarray(values)[rows] for name, values in windows.items()}
        return cls(points, neighbours, windows)

    def save(self, path, *, megabytes=50, sample_rate=RATE, on_error="raise", n_jobs=None):
        """Write the page: one HTML file that needs no network. Needs bokeh: ``pip install 'sklearn-cpc[map]'``.

        Parameters
        ----------
        path : str or path-like
            File to write or replace.
        megabytes : float, default=50
            Space in the page for sounds (mono mp3, about 30 kB for 5 s) and spectrograms (1 kB), besides 1.5 MB
            and 0.5 kB per window. If it does not suffice for all, windows are drawn at random. The others play
            from their files, if these are wav, flac, ogg or mp3 and stay where they are, relative to the page.
        sample_rate : int, default=24000
            Rate in Hz to which recordings are resampled; spectrograms show frequencies up to half of it.
        on_error : {"raise", "nan"}, default="raise"
            Raise one error that lists all unusable recordings, or warn and leave their windows without sound.
        n_jobs : int, default=None
            Number of threads that decode and encode sounds.

        Raises
        ------
        ImportError, UnreadableAudioError
            If bokeh is not installed, or recordings cannot be used and ``on_error="raise"``.
        """
        import_extra("bokeh", "map")
        reasons: dict[str, str] = {}
        options: dict = {"memory": None, "n_jobs": n_jobs, "verbose": 0, "sample_rate": sample_rate}
        options["on_error"] = reasons.update if on_error == "nan" else on_error
        reader = SimpleNamespace(**options, get_params=lambda: options)
        media, n_bytes = {}, 1e6 * megabytes
        order = np.random.default_rng(0).permutation(len(self.points))
        for batch in np.split(order, range(BATCH, len(order), BATCH)):
            encode = partial(_encode_media, sample_rate, n_bytes)
            sounds = self._read_sounds(batch, reader) if n_bytes > MIN_BYTES else []
            for point, uris in map_in_threads(encode, sounds, joblib.effective_n_jobs(n_jobs)):
                size = sum(map(len, uris))
                if 0 < size <= n_bytes:
                    media[point], n_bytes = uris, n_bytes - size
        if reasons:
            warn(str(UnreadableAudioError(reasons, len(set(self.windows["path"])), "their windows have no sound")))
        path = os.path.abspath(path)
        with atomic_write(path, durable=False) as file:
            page = self._make_page(media, os.path.dirname(path))
            file.write(page.encode(errors="backslashreplace"))  # undecodable names become escapes of JSON

    def _read_sounds(self, batch, reader):
        """Yield points and their samples, as far as their recordings can be used."""
        clips = [Clip(*(self.windows[name][point] for name in Clip._fields)) for point in batch]
        for chunk in AudioSource(reader, clips, reader.sample_rate, reset=False).chunks():
            yield from ((batch[chunk.rows[i]], np.asarray(chunk.samples[i])) for i in chunk.readable)

    def _make_page(self, media, folder):
        """Return the page, to be saved in a folder; ``media`` has the spectrogram and sound of some points."""
        names = "document", "embed", "models", "palettes", "plotting", "resources"
        bokeh = SimpleNamespace(**{name: import_extra(f"bokeh.{name}", "map") for name in names})
        (x, y), n_points = self.points.T, len(self.points)
        clips = zip(*(self.windows[name] for name in Clip._fields), strict=True)
        files = [_find_url(folder, *clip) for clip in clips]
        windows = {name: self.windows[name].tolist() for name in ("path", "onset", "duration", "row")}
        windows["neighbours"] = self.neighbours.tolist()
        windows["thumbnail"] = [media.get(point, [""])[0] for point in range(n_points)]
        windows["sound"] = [media[point][1] if point in media else url for point, url in enumerate(files)]
        if n_silent := windows["sound"].count(""):
            warn(f"{n_silent} of {n_points} windows have no sound for want of space; save with more megabytes.")
        # Drawn without WebGL, which without a graphics card takes five times as long.
        view = {"sizing_mode": "stretch_both", "match_aspect": True, "active_scroll": "wheel_zoom"}
        plot = bokeh.plotting.figure(tools="pan,wheel_zoom,lasso_select,reset", name="plot", **view)
        plot.toolbar.logo = None
        plot.axis.visible = plot.grid.visible = False
        size = float(np.clip(200 / np.sqrt(n_points), 5, 11))
        style = {"colour": ["gray"] * n_points, "marker": ["circle"] * n_points}  # the page fills them in
        points = bokeh.models.ColumnDataSource({"x": x, "y": y, **style})
        look = {"fill_color": "colour", "line_color": "white", "line_width": 0.5, "alpha": 0.85}
        plot.scatter("x", "y", source=points, marker="marker", size=size, nonselection_alpha=0.1, **look)
        ring = plot.scatter([], [], size=22, fill_color=None, line_color="black", line_width=3).data_source
        args = {"plot": plot, "points": points, "ring": ring, "windows": windows}
        args["columns"] = [_encode_column(*column) for column in self.windows.items()]
        args |= {"palette": COLOURS, "shapes": list(SHAPES.items()), "cividis": bokeh.palettes.Cividis256}
        html, script = (Path(__file__).with_name(f"map.{kind}").read_text("utf-8") for kind in ("html", "js"))
        page = bokeh.document.Document()
        page.add_root(plot)
        page.js_on_event("document_ready", bokeh.models.CustomJS(args=args, code=script))
        return bokeh.embed.file_html(page, bokeh.resources.INLINE, f"Map of {n_points} windows", template=html)


def _encode_media(sample_rate, space, sound):
    """Return a point, and data URIs of its spectrogram and sound, or "" if these need more than the space."""
    from PIL import Image

    point, samples = sound
    if space < MIN_BYTES_PER_SECOND * len(samples) / sample_rate:
        return point, ("", "")
    power = spectrogram(np.pad(samples, (0, max(0, N_FFT - len(samples)))), nperseg=N_FFT)[2][::-1]
    grey = (255 * (power / max(power.max(), 1e-12)) ** 0.12).astype(np.uint8)  # soft sounds remain visible
    thumbnail, mp3 = io.BytesIO(), io.BytesIO()
    Image.fromarray(grey).resize(THUMBNAIL_SIZE).save(thumbnail, "JPEG", quality=50, optimize=True)
    samples = soxr.resample(samples, sample_rate, RATE) / max(1.0, np.abs(samples).max())
    soundfile.write(mp3, samples, RATE, format="MP3")
    contents = {"image/jpeg": thumbnail, "audio/mpeg": mp3}.items()
    return point, [f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}" for kind, file in contents]


def _find_url(folder, path, onset, duration):
    """Return the URL of a stretch of a file, relative to a folder if possible, or "" if no browser plays it."""
    is_page = path.startswith(("http://", "https://"))
    if not base_name(path).lower().endswith(BROWSER_FORMATS) or (is_url(path) and not is_page):
        return ""
    try:
        url = path if is_page else quote(os.fsencode(os.path.relpath(path, folder).replace(os.sep, "/")))
    except ValueError:  # another drive of Windows
        url = Path(os.path.abspath(path)).as_uri()
    return f"{url}#t={onset:.3f}" + ("" if np.isnan(duration) else f",{onset + duration:.3f}")


def _encode_column(name, values):
    """Return numbers or dates in steps of 1/255 with their ends, or categories as numbers with their names."""
    pd = import_extra("pandas", "map")
    if values.dtype.kind in "iu" and len(set(values)) > MAX_CATEGORIES:
        values = values.astype(float)
    if values.dtype.kind in "fM":
        values = pd.Series(values)
        ends = values.min(), values.max()
        codes = ((values - ends[0]) / (ends[1] - ends[0]) * 255).round().fillna(-1).astype(int)
        texts = [f"{end:.6g}" if values.dtype.kind == "f" else str(end) for end in ends]
        return {"name": name, "codes": codes.tolist(), "ends": texts}
    texts = ["" if pd.isna(value) else str(value) for value in values]
    names = [text for text, _ in Counter(texts).most_common()]
    names[:MAX_CATEGORIES] = sorted(names[:MAX_CATEGORIES])  # these have a colour of their own
    codes = {text: code for code, text in enumerate(names)}
    return {"name": name, "codes": [codes[text] for text in texts], "names": names}
