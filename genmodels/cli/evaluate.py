"""genmodels evaluate: measures a run's model again and adds to its results.json; or scores images."""

from genmodels.cli.app import run_app
from genmodels.config.shipped import CONFIGS
from genmodels.errors import UserError

EVALUATE, SCORE = "genmodels.engine.evaluate:evaluate", "genmodels.engine.score:score"
OF_IMAGES = {"samples", "reference", "reference_split", "classifier_data"}  # keys for images only


def run(argv: list[str]) -> int:
    """Evaluates a run's model, or scores images, depending on the keys."""
    keys = {word.lstrip("+~").split("=")[0] for word in argv}
    if not keys & OF_IMAGES:
        return run_app("evaluate", argv, check="evaluation_config", work=EVALUATE)
    if model := sorted(keys & {"run", "checkpoint"}):
        raise UserError(f"{model[0]}= names a model, samples= and reference= name images; give only one of the two")
    images = CONFIGS / "evaluate_images.yaml"
    return run_app("evaluate", argv, check="image_evaluation_config", work=SCORE, config=images)
