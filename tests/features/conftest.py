"""Leave alone what makes PyTorch know of a device for good: test_elsewhere.py runs it in a process of its own."""

collect_ignore = ["elsewhere.py", "those_elsewhere.py"]
