"""Share what methods on reference pictures have in common: what they require, and when and where they take part."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from headrouter.errors import IncompatibleError
from headrouter.methods.head_router.window import Window
from headrouter.methods.method import Method, MethodRun, Needs, RunContext

Branches = Annotated[
    Literal["both", "conditional"],
    Field(description="Branches of guidance in which it acts: both, as published, or the conditional one alone."),
]


class OnReferences(Window, Method):
    """Acts on reference pictures, in some steps and layers."""

    label: ClassVar[str]
    """Name by which it is registered."""

    @property
    def requires(self) -> frozenset[str]:
        """Require attention and reference pictures."""
        return frozenset({"joint-attention", "reference-pictures"})

    def refuse_without_references(self, context: RunContext) -> None:
        """Refuse a run without reference pictures.

        Raises:
            IncompatibleError: naming the method, and what gives the picture to the model.
        """
        if not all(row.references for row in context.rows):
            raise IncompatibleError(
                f"`method` {self.label!r} acts on reference pictures, and this run has none. Edit with `inversion='instruct'`, on a"
                " model that takes them."
            )


class WindowRun(MethodRun):
    """Listens to the sites and in the steps of a method's window."""

    def __init__(self, method: OnReferences, context: RunContext, *, acts: bool = True, compares: bool = False):
        """Begin; with ``acts`` false it listens to nothing, with ``compares`` the source's row is needed beside each edit's."""
        sites = frozenset(site.index for site in method.sites(context)) if acts else frozenset[int]()
        self._steps = method.steps(context)
        self._needs = Needs(attention=sites, pair="conditional" if compares else False)

    def needs(self, step: int) -> Needs:
        """Return the sites in the steps of the window, nothing elsewhere."""
        return self._needs if step in self._steps else Needs()
