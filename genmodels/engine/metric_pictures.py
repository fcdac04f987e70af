"""Saves pictures of metrics, such as samples beside their nearest neighbours."""

from pathlib import Path

from PIL import Image

from genmodels.console import show_paths
from genmodels.evaluators.shown import Show
from genmodels.pictures import save
from genmodels.rank import is_rank_zero


def saves_pictures(folder: Path) -> Show:
    """For `evaluate(show=...)`: writes a metric's picture into the folder and prints its path."""

    def keep(kind: str, picture: Image.Image) -> None:
        if is_rank_zero():
            save(picture, folder / f"{kind}.png")
            show_paths({"picture": folder / f"{kind}.png"})

    return Show(picture=keep)
