"""Where things live. The only file that builds paths to a person's data or to files shipped with the packages.

A person's data (runs, progress, downloads, caches) is under one directory: ``$MINIMIND_HOME`` if set, else the
platform's data directory (``~/.local/share/minimind`` on Linux). The installed packages are never written to.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

_PACKAGE = Path(__file__).resolve().parent

HOME_VARIABLE = "MINIMIND_HOME"
"""The environment variable that moves everything a person makes here; children inherit it."""

KERNELS_VARIABLE = "MINIMIND_KERNELS"
"""The environment variable that moves only the compiled code."""


def home() -> Path:
    """The directory of everything a person makes here; not created by asking."""
    chosen = os.environ.get(HOME_VARIABLE)
    return (
        Path(chosen).expanduser().absolute()
        if chosen
        else Path(platformdirs.user_data_dir("minimind", appauthor=False))
    )


def use_home(directory: str) -> None:
    """Keep everything under `directory` from now on, in this process and its children."""
    os.environ[HOME_VARIABLE] = directory


def runs() -> Path:
    """One directory a training run."""
    return home() / "runs"


def models() -> Path:
    """Downloaded models, one folder each."""
    return home() / "models"


def datasets() -> Path:
    """Downloaded data sets, one file each."""
    return home() / "datasets"


def cache() -> Path:
    """What can be made again: tokenised shards, probes of the machine."""
    return home() / "cache"


def kernels() -> Path:
    """Code compiled for this machine: ``$MINIMIND_KERNELS`` if set (a place that several homes share), else in the cache."""
    chosen = os.environ.get(KERNELS_VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else cache() / "kernels"


def kernel_sources() -> Path:
    """The directory of the C files of decoding that come with the package."""
    return _PACKAGE / "inference" / "native"


def training_kernel_sources() -> Path:
    """The directory of the C files of training that come with the package."""
    return _PACKAGE / "training" / "kernels"


def data() -> Path:
    """Data sets that were fetched, under their published names."""
    return home() / "data"


def progress() -> Path:
    """A learner's progress (quizzes, exercises, reading positions)."""
    return home() / "progress.json"


def settings() -> Path:
    """Preferences of the terminal app (language, theme)."""
    return home() / "settings.json"


def preferences() -> Path:
    """What holds for all training runs: price of an hour, trackers, a webhook."""
    return home() / "preferences.json"


def queue() -> Path:
    """The runs that wait to be started, and the locks of their queue."""
    return home() / "queue"


def exercises() -> Path:
    """The learner's own solutions, one file an exercise."""
    return home() / "exercises"


def kept_results() -> Path:
    """Results of experiments, one file a configuration; what is there can be computed again."""
    return cache() / "experiments"


def exports() -> Path:
    """What a person saved of experiments' results, one directory each."""
    return home() / "exports"


def notebooks() -> Path:
    """The lab notebook, one Markdown file a lesson."""
    return home() / "notebook"


def conversations() -> Path:
    """Kept chats, one JSON-lines file each."""
    return home() / "chats"


def pictures() -> Path:
    """Pictures of the screen, where the person asked for one."""
    return home() / "pictures"


def crash_logs() -> Path:
    """Tracebacks a person never has to see, one file a crash."""
    return home() / "crashes"


def guides() -> Path:
    """The directory of the guides that come with the package."""
    return _PACKAGE / "guides"


def shipped_tokenizer(name: str) -> Path:
    """The directory of a tokenizer that comes with the package (``minimind-6400``, ``nano-2048``)."""
    return _PACKAGE / "data" / "tokenizers" / name


def ablations() -> Path:
    """What paired comparisons found, one JSON-lines file each."""
    return home() / "ablations"


def recipes() -> Path:
    """Recipes that were begun, one directory each."""
    return home() / "recipes"


def shipped_recipes() -> Path:
    """The recipes that come with the package, one TOML file each."""
    return _PACKAGE / "recipe" / "shipped"


def shipped_models() -> Path:
    """The directory that holds the checkpoints that come with the package, one folder each."""
    return _PACKAGE / "models"
