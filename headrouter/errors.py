"""Define the errors and warnings, in words that a user can act on.

Every error that a user can cause is a :class:`HeadRouterError`. Its message names the parameter in backticks, the rule,
the value that came and the next step. The command line prints it without a traceback and exits with code 2.
"""

from typing import Final
from unicodedata import category

LONGEST: Final = 2_000
"""Characters of a message; of a longer one, which repeats what the user gave, the middle is left out."""

LONGEST_REASON: Final = 300
"""Characters of a foreign error that become part of a sentence."""


def printable(text: str) -> str:
    """Escape what a terminal would act on or could not show; line breaks and spaces stay."""
    return "".join(
        one if one.isprintable() or one == "\n" or category(one) == "Zs" else one.encode("unicode_escape").decode()
        for one in text
    )


class HeadRouterError(Exception):
    """Reports an error in a message that is meant for the user.

    >>> print(InvalidInputError("`image` 'red\\x1b[31m.png' is not there."))
    `image` 'red\\x1b[31m.png' is not there.
    """

    def __str__(self) -> str:
        """Return the message, fit for a terminal: what cannot be printed is escaped, and it has an end."""
        text = super().__str__()
        if len(text) > LONGEST:
            text = f"{text[: LONGEST // 2]} […] {text[-LONGEST // 2 :]}"
        return printable(text)


class InvalidInputError(HeadRouterError, ValueError):
    """Reports a parameter, picture, prompt or file that cannot be used."""


class UnknownNameError(HeadRouterError, LookupError):
    """Reports a name that no part is registered under."""


class IncompatibleError(HeadRouterError):
    """Reports parts that cannot work together, before anything is loaded."""


class WeightsError(HeadRouterError):
    """Reports model weights that are missing, gated, damaged or in a format that is refused."""


class OutOfMemoryError(HeadRouterError):
    """Reports that the device has too little memory for the run."""


class NonFiniteError(HeadRouterError, ArithmeticError):
    """Reports a NaN or an infinity that appeared during a run."""


class PluginWarning(UserWarning):
    """Warns of a plug-in that was not loaded, with the reason."""


class PluginError(HeadRouterError):
    """Reports a plug-in that breaks the rules, or whose code cannot be imported when needed."""


class PluginConflictError(HeadRouterError, LookupError):
    """Reports a short name that several plug-ins claim, when it is used."""


class RecordWarning(UserWarning):
    """Warns of a record that does not prove that the edit run again is the same."""


class PromptWarning(UserWarning):
    """Warns of a prompt that one of several text encoders does not read in full."""


class FusedKernelWarning(UserWarning):
    """Warns of a fused kernel that cannot be compiled, in whose place plain operations run."""


class SourceWarning(UserWarning):
    """Warns of parts that put the source back where the source's row is not the picture."""


class PictureWarning(UserWarning):
    """Warns of a picture whose colours may be shown otherwise elsewhere."""


def reason_of(error: BaseException) -> str:
    """Return a foreign error in one printable line, without its full stop.

    The type comes first, unless it is an error of headrouter's own.

    >>> reason_of(KeyError("x\\x1b"))
    "KeyError: 'x\\\\x1b'"
    >>> reason_of(OSError("No such file. Look elsewhere."))
    'OSError: No such file. Look elsewhere'
    """
    kind = type(error).__name__
    try:
        text = " ".join(printable(str(error)[:LONGEST]).split())
        text = text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} […]"
        text = text.rstrip(".: ")
    except Exception:
        text = "an error that cannot be shown"
    if isinstance(error, HeadRouterError) and text:
        return text
    return f"{kind}: {text}" if text else kind
