"""What the page uses of gradio, though it is private, is there and does what is expected."""

import gradio as gr
from headrouter_app import compat
from headrouter_app.serving import in_loop


def test_rest_between_looks() -> None:
    blocks = in_loop(lambda: gr.Blocks().queue())
    before = {**vars(blocks._queue)}
    compat.rest_between_looks(blocks)
    changed = {name: one for name, one in vars(blocks._queue).items() if one is not before[name]}
    assert changed == {"sleep_when_free": 0.05, "progress_update_sleep_when_free": 0.05}
    assert all(before[name] < seconds for name, seconds in changed.items())
