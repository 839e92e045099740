"""Send a model's joint attention to a listener, which may change it, and leave the model as it was.

It intercepts the attention operation, where query and key already carry normalisation and rotary embedding and both
streams are joined, so it needs no code per model and composes with LoRA weights, quantisation, fused projections,
chosen kernels and compiled blocks.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import final

from torch.nn import Module

from headrouter.attention.joint_attention import Site, TokenLayout
from headrouter.attention.rows import BatchRow
from headrouter.errors import IncompatibleError
from headrouter.models.backbone import AttentionListener
from headrouter_diffusers import compat
from headrouter_diffusers.attention.attachment import Attachment, listener_at
from headrouter_diffusers.attention.processors import signatures_known, signatures_of
from headrouter_diffusers.attention.refusals import refuse_unsteerable
from headrouter_diffusers.attention.running import Forward, current, entering
from headrouter_diffusers.sites import SiteRule, find_sites


@final
class Tap:
    """Gives access to the joint attention of one model.

    While nothing is attached the model is untouched. Attached, it sends events only within :meth:`forward`, in the thread
    that entered it.
    """

    def __init__(self, model: Module, rules: Sequence[SiteRule]):
        """Find the sites of ``model``; see :func:`headrouter_diffusers.sites.find_sites`.

        Raises:
            IncompatibleError: there are none, or the model is in a state that cannot be steered exactly.
        """
        refuse_unsteerable(model)
        self._model = model
        self._found = find_sites(model, rules)
        self._by_module = {found.attention: found for found in self._found}
        self._signatures = signatures_of([found.attention.processor for found in self._found])

    @property
    def sites(self) -> tuple[Site, ...]:
        """Return the joint sites in execution order."""
        return tuple(found.site for found in self._found if found.joint)

    @property
    def image_sites(self) -> tuple[Site, ...]:
        """Return the sites where image tokens alone attend, by the numbers of their blocks."""
        return tuple(found.site for found in self._found if not found.joint)

    def attach(self, listener: AttentionListener) -> Attachment:
        """Send the attention events of the model's forward passes to ``listener`` until the context ends.

        Raises:
            IncompatibleError: the model is in a state that cannot be steered exactly; on entering, it already has a listener.
        """
        refuse_unsteerable(self._model)
        return Attachment(self._model, self._found, listener)

    @contextmanager
    def forward(self, rows: tuple[BatchRow, ...], layout: TokenLayout) -> Iterator[None]:
        """Enter around each call of the model, with the rows of its batch and its sequence.

        Raises:
            IncompatibleError: after the call, if a joint site did not attend exactly once; before it, if the model is
                called from within its own attention.
        """
        around = current()
        if around is not None and around.site_of(self._found[0].attention) is not None:
            raise IncompatibleError(
                f"{type(self._model).__name__} is called from within one of its own attention layers, where it would be"
                " steered as if it were the run itself. Call it before the run, or call a pipeline of your own."
            )
        listener = listener_at(self._found)
        if listener is None:
            with self._unheard():
                yield
            return
        run = Forward(listener, rows, layout, self._by_module)
        listener.begin_forward(rows, layout)
        with entering(run):
            yield
        for site in self.sites:
            if run.fired[site.path] != 1:
                raise IncompatibleError(
                    f"{type(self._model).__name__} attended {run.fired[site.path]} times instead of once at {site.path}"
                    f" over {layout.length} tokens. A feature cache, an xformers processor, skipped layers or"
                    " parallelism over devices does that; switch it off."
                )

    def _unheard(self) -> AbstractContextManager[None]:
        """Return the context of a call without a listener.

        Compiled blocks run the graphs that they have with one, so that they are not compiled twice.
        """
        if any(compat.compiled_code(found.block) is not None for found in self._found):
            return Attachment(self._model, self._found, None)
        return signatures_known(self._signatures)
