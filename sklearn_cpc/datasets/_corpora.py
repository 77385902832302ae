"""The public corpora: where they are, how they are checked, and what they say of their recordings."""

import csv
from operator import itemgetter
from pathlib import Path

import numpy as np

from ._download import Archive, Corpus, Listing, untar, unzip
from ._folder import load_audio_folder

# Where each corpus keeps what it says of its recordings


def _read_esc50(folder):
    folder = folder / f"ESC-50-{ESC50_COMMIT}"
    with open(folder / "meta" / "esc50.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return Listing(
        paths=[folder / "audio" / row["filename"] for row in rows],
        target=[row["category"] for row in rows],
        groups=[row["fold"] for row in rows],
        extras={
            "fold": np.array([int(row["fold"]) for row in rows]),
            "esc10": np.array([row["esc10"] == "True" for row in rows]),
        },
    )


def _read_fsdd(folder):
    paths = sorted((folder / f"free-spoken-digit-dataset-{FSDD_RELEASE}" / "recordings").glob("[!.]*.wav"))
    digits, speakers, takes = zip(*(path.stem.split("_") for path in paths), strict=True)
    return Listing(paths, list(digits), list(speakers), {"take": np.array(takes, dtype=int)})


def _read_gtzan(folder):
    corpus = load_audio_folder(folder / "genres", extensions=".wav")
    return Listing([Path(path) for path in corpus.paths], corpus.target.tolist(), None, {})


def _read_fma_small(folder):
    with open(folder / "fma_metadata" / "tracks.csv", newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        columns = list(zip(next(rows), next(rows), strict=True))  # the name of a column takes two rows
        next(rows)  # and that of the index takes a third
        subset, *wanted = [columns.index(name) for name in FMA_COLUMNS]
        tracks = [(int(row[0]), *itemgetter(*wanted)(row)) for row in rows if row[subset] == "small"]
    track_ids, genres, artists, splits, licenses = map(list, zip(*tracks, strict=True))
    names = [f"{track_id:06d}" for track_id in track_ids]
    extras = {"split": splits, "track_id": track_ids, "license": licenses}
    return Listing(
        paths=[folder / "fma_small" / name[:3] / f"{name}.mp3" for name in names],
        target=genres,
        groups=artists,
        extras={name: np.array(values) for name, values in extras.items()},
    )


FMA_COLUMNS = [
    ("set", "subset"),
    ("track", "genre_top"),
    ("artist", "id"),
    ("set", "split"),
    ("track", "license"),
]


# What there is to know of each corpus

ESC50_COMMIT = "33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"
ESC50 = Corpus(
    title="ESC-50",
    folder="esc50",
    size="0.6 GB",
    archives=(
        Archive(
            f"https://github.com/karolpiczak/ESC-50/archive/{ESC50_COMMIT}.zip",
            unzip,
            ("audio/*.wav", "meta/esc50.csv", "LICENSE", "README.md"),
            # GitHub packs archives on demand and does not promise that their bytes stay, but several public
            # projects that pin this commit (none of them the author's) state this sha256 of its archive.
            "sha256:661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
        ),
    ),
    read=_read_esc50,
    n_classes=50,
    n_per_class=40,
    description="""\
ESC-50: Dataset for Environmental Sound Classification

2000 recordings of 5 seconds (44.1 kHz, mono): animals, natural soundscapes, human sounds without speech,
sounds from indoors and from outdoors, 50 classes with 40 recordings each, cut from field recordings of
freesound.org. They come in 5 folds, such that clips of one source are in one fold. ESC-10 is a subset of ten
classes.

Source: https://github.com/karolpiczak/ESC-50
Licence: CC BY-NC 3.0 (https://creativecommons.org/licenses/by-nc/3.0/); ESC-10: CC BY 3.0
(https://creativecommons.org/licenses/by/3.0/). The file LICENSE credits each clip.
Cite: K. J. Piczak. ESC: Dataset for Environmental Sound Classification. Proceedings of the 23rd ACM
International Conference on Multimedia, 2015, 1015-1018. https://doi.org/10.1145/2733373.2806390
""",
)

FSDD_RELEASE = "1.0.10"
FSDD = Corpus(
    title="FSDD",
    folder="fsdd",
    size="16 MB",
    archives=(
        Archive(
            f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v{FSDD_RELEASE}.zip",
            unzip,
            ("recordings/*.wav", "metadata.py", "README.md"),
        ),
    ),
    read=_read_fsdd,
    n_classes=10,
    n_per_class=300,
    # Stated by a public project that fetches this release, and found again for recordings from another source.
    known_digest="45a9b976ba3397a2fd5c70a9f2e43c34f442a3a6be47392ecfc41174b678f37e",
    description=f"""\
Free Spoken Digit Dataset (FSDD), release {FSDD_RELEASE}

3000 recordings of English digits (8 kHz, mono, trimmed to the digit): 6 speakers, 50 recordings of each digit
by each of them.

Source: https://github.com/Jakobovski/free-spoken-digit-dataset
Licence: CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/)
Cite: Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas, A. Thite. Free Spoken Digit Dataset, release
{FSDD_RELEASE}. https://github.com/Jakobovski/free-spoken-digit-dataset
""",
)

GTZAN = Corpus(
    title="GTZAN",
    folder="gtzan",
    size="1.2 GB",
    archives=(
        Archive(
            "https://huggingface.co/datasets/marsyas/gtzan/resolve/7031b102fce5383cfdfa12714eaf42065e82b855/"
            "data/genres.tar.gz",
            untar,
            ("genres/*/*.wav",),
            # The md5 in torchaudio and mirdata is that of the original server's archive, which had another
            # size (1 225 571 541 bytes in TensorFlow Datasets). None is published of the mirror's.
            None,
        ),
    ),
    read=_read_gtzan,
    n_classes=10,
    n_per_class=100,
    known_bad=("jazz.00054.wav",),
    description="""\
GTZAN genre collection

1000 excerpts of music, 30 seconds each (22.05 kHz, mono), 100 of each of 10 genres: blues, classical, country,
disco, hiphop, jazz, metal, pop, reggae, rock. They were collected in 2000 and 2001 from CDs, radio and
microphone recordings. Artists and titles are not part of the corpus. Some recordings occur more than once,
some are mislabelled, and jazz.00054.wav cannot be read.

Source: https://huggingface.co/datasets/marsyas/gtzan, a mirror; the original server is gone
Licence: none is stated; for research only
Cite: G. Tzanetakis, P. Cook. Musical genre classification of audio signals. IEEE Transactions on Speech and
Audio Processing 10(5), 2002, 293-302. https://doi.org/10.1109/TSA.2002.800560
Faults: B. L. Sturm. The GTZAN dataset: its contents, its faults, their effects on evaluation, and its future
use. 2013. https://arxiv.org/abs/1306.1461
""",
)

FMA_SMALL = Corpus(
    title="FMA-small",
    folder="fma_small",
    size="8 GB",
    archives=(  # with the sha1 that the README of https://github.com/mdeff/fma gives
        Archive(
            "https://os.unil.cloud.switch.ch/fma/fma_metadata.zip",
            unzip,
            ("fma_metadata/tracks.csv", "fma_metadata/README.txt"),
            "sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733",
        ),
        Archive(
            "https://os.unil.cloud.switch.ch/fma/fma_small.zip",
            unzip,
            ("fma_small/*/*.mp3", "fma_small/README.txt"),
            "sha1:ade154f733639d52e35e32f5593efe5be76c6d70",
        ),
    ),
    read=_read_fma_small,
    n_classes=8,
    n_per_class=1000,
    # The first three are short, and the others empty: https://github.com/mdeff/fma/issues/8 and 44.
    known_bad=("098565.mp3", "098567.mp3", "098569.mp3", "099134.mp3", "108925.mp3", "133297.mp3"),
    description="""\
FMA-small, a subset of FMA: A Dataset for Music Analysis

8000 excerpts of music, 30 seconds each (mp3), 1000 of each of 8 genres: Electronic, Experimental, Folk,
Hip-Hop, Instrumental, International, Pop, Rock. They come from the Free Music Archive with the numbers of
their artists and an official split into training, validation and test, which no artist crosses. Six files are
shorter than they should be, three of them empty.

Source: https://github.com/mdeff/fma
Licence: metadata CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/); each track under the licence that
its artist chose, mostly Creative Commons
Cite: M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson. FMA: A Dataset for Music Analysis. 18th
International Society for Music Information Retrieval Conference (ISMIR), 2017.
https://arxiv.org/abs/1612.01840
""",
)
