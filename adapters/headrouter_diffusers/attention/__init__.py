"""Send the attention operations of a model to a listener, and leave the model as it was."""
