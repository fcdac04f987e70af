"""Which numbers a setting takes, as the type of a constructor's parameter: `steps: PositiveInt`.

The check of a config (`genmodels.config.check`) holds every value against the type of its parameter, and refuses in
words what is outside, before anything is built. A number has to be finite unless its type says `Le(inf)`. The names are
pydantic's where it has them.
"""

from math import inf
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

RelativeStd = Annotated[float, Gt(0), Lt(0.2886)]  # of the profile of a power function: below 12^(-1/2)
PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
TwoOrMore = Annotated[int, Ge(2)]  # such as levels, of which one says nothing
FiniteFloat = Annotated[float, Gt(-inf)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
NonNegativeOrInfinite = Annotated[float, Ge(0), Le(inf)]
Probability = Annotated[float, Ge(0), Le(1)]
ProbabilityBelowOne = Annotated[float, Ge(0), Lt(1)]  # such as dropout, of which 1 leaves nothing
