"""TensorBoard, for those who have it: the package is no dependency of ours."""

from importlib.util import find_spec

from pytorch_lightning.loggers import TensorBoardLogger

from genmodels.errors import UserError


class TensorBoard(TensorBoardLogger):
    """Event files in the directory `path`; steps on the x axis, `images_seen` is a curve of its own.

    Raises:
        UserError: tensorboard is not installed.
    """

    def __init__(self, *, path: str):
        if find_spec("tensorboard") is None:
            raise UserError("logger=tensorboard needs the package tensorboard, which is missing; pip install it")
        super().__init__(save_dir=path, name="", version="")
