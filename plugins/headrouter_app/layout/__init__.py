"""Lays out the page, with gradio: what is asked, the parts, the results, the history."""
