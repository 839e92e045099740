"""What can go wrong, in words a user can act on.

Every error that a user can cause is a :class:`HeadRouterError`. Its message names the parameter in backticks, the rule,
the value that came and the next step. The command line prints it without a traceback and exits with code 2.
"""

from typing import Final
from unicodedata import category

LONGEST: Final = 2_000
"""Characters of a message; of a longer one, which repeats what the user gave, the middle is left out."""

LONGEST_REASON: Final = 300
"""Characters of what somebody else's error says, where it is part of a sentence."""


def printable(text: str) -> str:
    """Escape what a terminal would act on or could not show; line breaks and spaces stay."""
    return "".join(
        one if one.isprintable() or one == "\n" or category(one) == "Zs" else one.encode("unicode_escape").decode()
        for one in text
    )


class HeadRouterError(Exception):
    """Base of all errors whose message is meant for the user.

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
    """A parameter, picture, prompt or file that cannot be used."""


class UnknownNameError(HeadRouterError, LookupError):
    """A name that nothing is registered under."""


class IncompatibleError(HeadRouterError):
    """Parts that cannot work together, refused before anything is loaded."""


class WeightsError(HeadRouterError):
    """Model weights that are missing, gated, damaged or in a format that is refused."""


class OutOfMemoryError(HeadRouterError):
    """The device has too little memory for the run."""


class NonFiniteError(HeadRouterError, ArithmeticError):
    """A NaN or an infinity appeared during a run."""


class PluginWarning(UserWarning):
    """A plug-in that was not loaded, and why."""


class PluginError(HeadRouterError):
    """A plug-in that breaks the rules, or whose code could not be imported when it was needed."""


class PluginConflictError(HeadRouterError, LookupError):
    """A short name that more than one plug-in lays claim to, raised when the name is used."""


class RecordWarning(UserWarning):
    """A record that does not say enough to be sure that the edit run again is the same."""


class PromptWarning(UserWarning):
    """A prompt that one of several text encoders does not see in full."""


class PictureWarning(UserWarning):
    """A picture whose colours may be shown otherwise elsewhere."""


def reason_of(error: BaseException) -> str:
    """Return what somebody else's code raised, in one printable line without its full stop.

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
