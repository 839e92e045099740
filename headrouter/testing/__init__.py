"""What the tests of a plug-in need: a small model in pure PyTorch."""
