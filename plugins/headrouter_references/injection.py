"""Blend keys and values of the reference into those of the new picture, arXiv:2605.01480, with a gain for each head.

In the first steps, for image token i of the new picture and the token of the same place in the reference picture:
k_i ← (1 − α·g_h)·k_i + α·g_h·k_ref(i), and the same for values.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal, final

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from headrouter.attention.joint_attention import JointAttention
from headrouter.config.step_or_fraction import StepOrFraction
from headrouter.errors import IncompatibleError, InvalidInputError
from headrouter.methods.head_router.head_weights import normalised
from headrouter.methods.method import MethodRun, RunContext
from headrouter.methods.step_means import StepMeans
from headrouter_references.acting import Branches, OnReferences, WindowRun
from headrouter_references.groups import GROUPS, shares


@final
class ReferenceInjection(OnReferences):
    """Holds the new picture to the first reference picture, the edited one, token by token.

    Keys are those of attention, after rotary embedding, so that the reference's carry its own positions. The source's row never
    changes.
    """

    label: ClassVar[str] = "reference-injection"

    stop: StepOrFraction = Field(8, description="First step after the steered ones, or fraction; published: 8.")
    alpha: float = Field(0.3, ge=0, le=1, description="α, largest share of the reference; 0 changes nothing.")
    gains: Literal["uniform", "share"] | tuple[float, ...] = Field(
        "uniform",
        description="g of each head: 1 (published), how much of its attention goes to the reference, stretched to [0, 1] over the "
        "heads of the layer, or numbers in [0, 1], one for each head.",
    )
    what: Literal["keys", "values", "both"] = Field("both", description="Blended parts; published: both.")
    branches: Branches = "both"

    def begin(self, context: RunContext) -> MethodRun:
        """Take part in a run.

        Raises:
            IncompatibleError: there are no reference pictures.
            InvalidInputError: a layer that the model does not have, or gains that are not one number for each head.
        """
        self.refuse_without_references(context)
        if isinstance(self.gains, tuple):
            heads = {site.heads for site in self.sites(context)}
            if heads != {len(self.gains)} or not all(0 <= gain <= 1 for gain in self.gains):
                raise InvalidInputError(
                    f"`method.gains` must be a number in [0, 1] for each of {max(heads)} heads, or 'uniform' or 'share', got"
                    f" {list(self.gains)}."
                )
        return _ReferenceInjectionRun(self, context)


@final
class _ReferenceInjectionRun(WindowRun):
    def __init__(self, method: ReferenceInjection, context: RunContext):
        super().__init__(method, context, acts=method.alpha > 0)
        self._method, self._means = method, StepMeans(context)

    def before(self, event: JointAttention) -> None:
        method, layout = self._method, event.layout
        reference, image = layout.references[0], layout.image
        if reference.grid != layout.grid:
            raise IncompatibleError(
                f"`method` 'reference-injection' blends token by token, and the reference picture has {reference.grid} of them"
                f" where the new one has {layout.grid}. Give the model the picture at the size that is worked at."
            )
        rows = [
            (place, item)
            for place, item in enumerate(event.rows)
            if not item.row.is_source and (method.branches == "both" or item.is_edit)
        ]
        gains = {place: self._gain(event, place) for place, _ in rows}
        for name in ("key", "value"):
            if method.what in (f"{name}s", "both"):
                changed = getattr(event, name).clone()
                for place, gain in gains.items():
                    own = changed[place]
                    own[:, image] = own[:, image].lerp(own[:, reference.tokens], (method.alpha * gain).to(own.dtype))
                setattr(event, name, changed)
        for place, item in rows:
            if item.is_edit:
                self._means.add("gains", event, item.row, gains[place].flatten())

    def diagnostics(self) -> Mapping[str, Tensor]:
        """Return ``gains``, g of each head [edit, step, layer, head], means over the evaluations of a step."""
        return self._means.means()

    def _gain(self, event: JointAttention, place: int) -> Float[Tensor, "heads 1 1"]:
        gains = self._method.gains
        if isinstance(gains, tuple):
            found = event.query.new_tensor(gains)
        elif gains == "uniform":
            found = event.query.new_ones(event.site.heads)
        else:
            found = normalised(shares(event, place)[GROUPS.index("reference")])
        return found[:, None, None]
