"""Describe each public corpus: where to download it, how to verify it, and how its recordings are labelled."""

import csv

from .download import Corpus, untar, unzip
from .folder import as_bunch, load_audio_folder

ESC50_COMMIT = "33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"
FSDD_RELEASE = "1.0.10"
GTZAN_COMMIT = "7031b102fce5383cfdfa12714eaf42065e82b855"


def read_esc50(folder):
    """Read the table of classes and folds."""
    folder = folder / f"ESC-50-{ESC50_COMMIT}"
    with open(folder / "meta" / "esc50.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return as_bunch(
        paths=[folder / "audio" / row["filename"] for row in rows],
        target=[row["category"] for row in rows],
        groups=[row["fold"] for row in rows],
        fold=[int(row["fold"]) for row in rows],
        esc10=[row["esc10"] == "True" for row in rows],
    )


def read_fsdd(folder):
    """Read the file names, which are <digit>_<speaker>_<take>.wav."""
    paths = sorted((folder / f"free-spoken-digit-dataset-{FSDD_RELEASE}" / "recordings").glob("[!.]*.wav"))
    digits, speakers, takes = zip(*(path.stem.split("_") for path in paths), strict=True)
    return as_bunch(paths, digits, speakers, take=[int(take) for take in takes])


def read_fma_small(folder):
    """Read the table of all FMA tracks, which has three header rows."""
    with open(folder / "fma_metadata" / "tracks.csv", newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        columns = list(zip(next(rows), next(rows), strict=True))
        next(rows)  # the name of the first column, which holds the track ids
        all_tracks = (dict(zip(columns, row, strict=True)) for row in rows)
        tracks = [track for track in all_tracks if track["set", "subset"] == "small"]
    track_ids = [int(track[columns[0]]) for track in tracks]
    names = [f"{track_id:06d}.mp3" for track_id in track_ids]
    return as_bunch(
        paths=[folder / "fma_small" / name[:3] / name for name in names],
        target=[track["track", "genre_top"] for track in tracks],
        groups=[track["artist", "id"] for track in tracks],
        split=[track["set", "split"] for track in tracks],
        track_id=track_ids,
        license=[track["track", "license"] for track in tracks],
    )


ESC50 = Corpus(
    title="ESC-50",
    folder="esc50",
    size="0.6 GB (0.9 GB on disk)",
    max_bytes=2_000_000_000,
    archives={
        # GitHub may pack the archive anew, but several public projects that pin this commit state this sha256.
        f"https://github.com/karolpiczak/ESC-50/archive/{ESC50_COMMIT}.zip": "sha256:"
        "661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f"
    },
    unpack=unzip,
    members=("audio/*.wav", "meta/esc50.csv", "LICENSE", "README.md"),
    read=read_esc50,
    n_classes=50,
    n_per_class=40,
    groups='official folds, "1" to "5"',
    description="""\
ESC-50: Dataset for Environmental Sound Classification

2000 recordings of 5 seconds (44.1 kHz, mono wav) in 50 classes of 40 recordings: animals, natural soundscapes,
human sounds without speech, indoor and outdoor sounds, cut from field recordings of freesound.org. All clips of a
field recording are in the same one of 5 official folds. ESC-10 is a subset of ten classes.

- Source: https://github.com/karolpiczak/ESC-50, a fixed commit; the sha256 of the archive is checked
- Licence: CC BY-NC 3.0 (https://creativecommons.org/licenses/by-nc/3.0/); ESC-10: CC BY 3.0
  (https://creativecommons.org/licenses/by/3.0/). The file LICENSE credits each clip.
- Cite: K. J. Piczak. ESC: Dataset for Environmental Sound Classification. Proceedings of the 23rd ACM
  International Conference on Multimedia, 2015, 1015-1018. https://doi.org/10.1145/2733373.2806390
""",
)

FSDD = Corpus(
    title="FSDD",
    folder="fsdd",
    size="16 MB (21 MB on disk)",
    max_bytes=40_000_000,
    # GitHub packs the archive on demand, so its bytes may change.
    archives={
        f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v{FSDD_RELEASE}.zip": None
    },
    unpack=unzip,
    members=("recordings/*.wav", "metadata.py", "README.md"),
    # Stated by a public project that fetches this release. Recordings from another source have it too.
    recordings_sha256="45a9b976ba3397a2fd5c70a9f2e43c34f442a3a6be47392ecfc41174b678f37e",
    read=read_fsdd,
    n_classes=10,
    n_per_class=300,
    groups="speakers",
    description=f"""\
Free Spoken Digit Dataset (FSDD), release {FSDD_RELEASE}

3000 recordings of English digits (8 kHz, mono wav, trimmed to 0.14 to 2.3 seconds): 6 speakers with 50 recordings
of each digit. The official test set is ``take < 5``; its speakers are in the training set too.

- Source: https://github.com/Jakobovski/free-spoken-digit-dataset; the sha256 of all recordings is checked
- Licence: CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/)
- Cite: Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas, A. Thite. Free Spoken Digit Dataset, release
  {FSDD_RELEASE}. https://github.com/Jakobovski/free-spoken-digit-dataset
""",
)

GTZAN = Corpus(
    title="GTZAN",
    folder="gtzan",
    size="1.2 GB (1.3 GB on disk)",
    max_bytes=2_600_000_000,
    # No hash of the mirror's archive is published; the md5 in torchaudio and mirdata is that of another archive.
    archives={f"https://huggingface.co/datasets/marsyas/gtzan/resolve/{GTZAN_COMMIT}/data/genres.tar.gz": None},
    unpack=untar,
    members=("genres/*/*.wav",),
    read=lambda folder: load_audio_folder(folder / "genres", extensions=".wav"),
    n_classes=10,
    n_per_class=100,
    groups="None, because the artists are unknown",
    known_bad=("jazz.00054.wav",),
    description="""\
GTZAN genre collection

1000 excerpts of music of 30 seconds (22.05 kHz, mono wav), 100 of each of 10 genres: blues, classical, country,
disco, hiphop, jazz, metal, pop, reggae, rock, collected in 2000 and 2001 from CDs, radio and microphones. Artists
are unknown, many of them and some recordings occur more than once, and some labels are wrong. So scores on random
splits are too high. One file is not readable: leave out ``known_bad``, or set ``on_error="nan"`` in the estimator.

- Source: https://huggingface.co/datasets/marsyas/gtzan, a fixed commit of a mirror; the original server is gone.
  No hash of the archive is published, so only the checksum inside it is checked.
- Licence: none is stated; for research only
- Cite: G. Tzanetakis, P. Cook. Musical genre classification of audio signals. IEEE Transactions on Speech and
  Audio Processing 10(5), 2002, 293-302. https://doi.org/10.1109/TSA.2002.800560
- Faults: B. L. Sturm. The GTZAN dataset: its contents, its faults, their effects on evaluation, and its future
  use. 2013. https://arxiv.org/abs/1306.1461
""",
)

FMA_SMALL = Corpus(
    title="FMA-small",
    folder="fma_small",
    size="8 GB (8 GB on disk)",
    max_bytes=16_000_000_000,
    archives={  # with the hashes from the README of https://github.com/mdeff/fma
        "https://os.unil.cloud.switch.ch/fma/fma_metadata.zip": "sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733",
        "https://os.unil.cloud.switch.ch/fma/fma_small.zip": "sha1:ade154f733639d52e35e32f5593efe5be76c6d70",
    },
    unpack=unzip,
    members=("fma_metadata/tracks.csv", "fma_metadata/README.txt", "fma_small/*/*.mp3", "fma_small/README.txt"),
    read=read_fma_small,
    n_classes=8,
    n_per_class=1000,
    groups="artist numbers",
    # The first three are too short and the others are empty: https://github.com/mdeff/fma/issues/8 and 44.
    known_bad=("098565.mp3", "098567.mp3", "098569.mp3", "099134.mp3", "108925.mp3", "133297.mp3"),
    description="""\
FMA-small, a subset of FMA: A Dataset for Music Analysis

8000 excerpts of music of 30 seconds (mp3), 1000 of each of 8 genres: Electronic, Experimental, Folk, Hip-Hop,
Instrumental, International, Pop, Rock. They come from the Free Music Archive, with artist numbers and an official
split into training, validation and test set that share no artist. Three files are too short and three are empty:
leave out ``known_bad``, or set ``on_error="nan"`` in the estimator. Unpacking needs 16 GB of disk space.

- Source: https://github.com/mdeff/fma; the sha1 of both archives is checked
- Licence: metadata CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/); each track has the licence that its
  artist chose, mostly Creative Commons
- Cite: M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson. FMA: A Dataset for Music Analysis. 18th
  International Society for Music Information Retrieval Conference (ISMIR), 2017. https://arxiv.org/abs/1612.01840
""",
)
