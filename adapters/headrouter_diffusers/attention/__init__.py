"""The tap: how the attention operation of a model reaches a listener, and how the model is left as it was."""
