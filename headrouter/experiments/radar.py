"""Name the eight kinds of edit by which kinds of all data sets are compared, arXiv:2411.15034, figure 5.

The paper's text names "change content" and "change object" of the eight, words of PIE-Bench, which has nine kinds beside
"random". Here its kinds of adding and deleting an object are one: a reading, since the figure's words are not in the text.
"""

from typing import Final

OBJECT: Final = "change object"
ADD_OR_DELETE: Final = "add or delete object"
CONTENT: Final = "change content"
POSE: Final = "change pose"
COLOR: Final = "change color"
MATERIAL: Final = "change material"
BACKGROUND: Final = "change background"
STYLE: Final = "change style"

KINDS: Final = (OBJECT, ADD_OR_DELETE, CONTENT, POSE, COLOR, MATERIAL, BACKGROUND, STYLE)
"""The eight kinds, in the order of the chart here."""
