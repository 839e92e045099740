"""What can go wrong, in words a user can act on.

Every error that a user can cause is a :class:`HeadRouterError`. Its message names the parameter in backticks, the rule,
the value that came and the next step. The command line prints it without a traceback and exits with code 2.
"""


class HeadRouterError(Exception):
    """Base of all errors whose message is meant for the user."""


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


class PromptWarning(UserWarning):
    """A prompt that one of several text encoders does not see in full."""
