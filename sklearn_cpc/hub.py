"""The Hugging Face Hub: share fitted estimators in files that hold no code. Needs the extra ``hub``."""

from ._extras import import_extra
from ._pipelines import find_nested
from ._version import __version__
from .persistence.models import load, to_bytes

FILE = "model.safetensors"
CARD = """\
---
library_name: sklearn_cpc
tags: [audio, feature-extraction]
---
# {repo_id}

{notes}

Load it with `sklearn_cpc.hub.load_from_hub("{repo_id}")`. The file holds no code. Made by sklearn_cpc {version}:

    {estimator}

{facts}

How well it does on other recordings is not known. Compare it there with simple features and the untrained network.
"""


def push_to_hub(estimator, repo_id, *, notes="", private=None):
    """Upload a fitted estimator or pipeline, with a model card, to the Hugging Face Hub.

    Parameters
    ----------
    estimator : estimator
        Fitted; what :func:`sklearn_cpc.save` can write.
    repo_id : str
        Repository, ``"user/name"``; made if need be. An earlier model and card are replaced. Log in before, by
        ``hf auth login`` or the environment variable HF_TOKEN.
    notes : str, default=""
        Markdown for the card: which sounds, their licence, results.
    private : bool, default=None
        Whether a new repository is private. None: the default of its owner.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    NotFittedError, TypeError, ValueError
        If the estimator cannot be saved; nothing is uploaded.

    Examples
    --------
    >>> from sklearn_cpc.hub import push_to_hub
    >>> push_to_hub(cpc, "me/owls", notes="20 hours of owls")  # doctest: +SKIP
    """
    data, facts = to_bytes(estimator), []
    for part in find_nested(estimator, lambda part: hasattr(part, "network_")):
        n_weights = sum(weights.numel() for weights in part.network_.parameters())
        facts.append(f"- {type(part).__name__}: {n_weights} weights, {part.n_iter_} epochs")
        if part.history_ and "seconds" in (row := part.history_[-1]):
            facts[-1] += f", the last on {row['n_rows']} recordings or clips with {row['seconds']:.0f} s of sound"
    what = {"estimator": repr(estimator).replace("\n", "\n    "), "facts": "\n".join(facts)}
    card = CARD.format(repo_id=repo_id, notes=notes, version=__version__, **what)
    hub = import_extra("huggingface_hub", "hub")
    hub.create_repo(repo_id, private=private, exist_ok=True)
    files = [hub.CommitOperationAdd(*file) for file in ((FILE, data), ("README.md", card.encode()))]
    return hub.create_commit(repo_id, files, commit_message="Add a model").commit_url


def load_from_hub(repo_id, *, revision=None):
    """Download an estimator from the Hugging Face Hub and load it; nothing in its file is executed.

    Parameters
    ----------
    repo_id : str
        Repository, ``"user/name"``.
    revision : str, default=None
        Branch, tag or the hash of a commit, which nobody can exchange. None: the newest.

    Returns
    -------
    estimator
        As from :func:`sklearn_cpc.load`, which raises ValueError if the file is no model.

    Examples
    --------
    >>> from sklearn_cpc.hub import load_from_hub
    >>> cpc = load_from_hub("me/owls")  # doctest: +SKIP
    """
    return load(import_extra("huggingface_hub", "hub").hf_hub_download(repo_id, FILE, revision=revision))
