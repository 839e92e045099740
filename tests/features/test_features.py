"""docs/features.md says of each feature and kind of model whether it works; each cell is tried here."""

import os
import sys
from pathlib import Path

import pytest

from headrouter.errors import HeadRouterError

from .features import BACKBONES, COLUMNS, FAMILIES, FEATURES, INSTRUCTED

TABLE = Path(__file__).parents[2] / "docs" / "features.md"
WORKS = "works"
EXACTNESS = """\
How exact "works" is. With something on the model (from `LoRA` down to `enable_group_offload`), steering at zero strength gives the
plain edit bit for bit, and real steering changes it. Compiled blocks with a listener
that does not steer draw the same picture bit for bit, and steered ones draw one within one level of 256 of the uncompiled one;
velocities of compiled blocks, plain and steered, are within 1e-5 of uncompiled ones
(`tests/adapters/test_compiled.py`). A listener that changes nothing changes no bit of a velocity
(`tests/adapters/test_companions.py`). Generation is within one level of the stock pipeline's, and its latents within 1e-5
(`tests/adapters/test_stock_pipeline.py`). Edits in groups, local blending with a white mask, and neutral velocity operators by
instructions are within one level of edits together and of the plain edit: their batches differ in size, by which kernels may
round. Kept inversions, and edits run again from their records, are the same bit for bit on one machine: their batches are the same
([decision 31](decisions/0031-what-is-equal-to-the-bit.md)).""".splitlines()
SIDE_BY_SIDE = """\
## Editors side by side

Each of these is a test in `tests/hardening/test_reentrance.py`.

- Editors with models of their own, in threads or inside each other's methods and progress callbacks: each result is the one alone.
- One editor, or one loaded backbone in two editors, while it is in the middle of a run, from another thread or from within:
  refused, "is in the middle of another run".
- One pipeline in two editors, one after the other: as with one editor. At the same time: only one of them can steer, the other is
  refused, "is already being steered"; what it does unsteered is right. Threads take turns with the parts of one pipeline.
- A model called from within one of its own attention layers: refused.""".splitlines()

ON_A_GPU = """\
## On a GPU

`make gpu-features` tries the cells on a CUDA GPU, and names those that differ from this page; without a GPU,
`make gpu-features DEVICE=elsewhere` tries them on a stand-in, whose tensors do not mix with those of the CPU, and the suite tries
some there. On an H200 with PyTorch 2.11, in float32, none differed of the 140 that were tried: what works on FLUX.1-dev and on
SD3.5-medium, and cells of nine other columns. `offload=model` and `offload=group`, refused above, work there. The rest of the table
has not been tried on a GPU. Of the conformance kit's checks of SD3, SD3.5, FLUX.1, FLUX.2 and Qwen-Image, 205 passed there, none
failed, and 23 ask for what these models do not provide.

- Each column's edit with steering is the same bit for bit when it is made again, and within one level of 256 of the CPU's; that of
  the small random Krea 2 within 21. GPUs round the inputs of convolutions to ten bits; so rounded on the CPU, it moves by 14.
- A kept inversion made on either gives, on the other, an edit within one level of that other's own.
- Steered edits of the bundled `sd3.5` and `flux` by each of eight inversions, 12 steps: 60 to 67 dB from float32's in float16, and
  52 to 59 in bfloat16, but for `rf-solver` on `flux`: 20.0. That edit stands on an edge: on the CPU bfloat16 gives 53 dB, and
  with the outputs of layers off by up to 2⁻⁷ more, 20.0, 38.8 and 52.5 in three runs.
- Three editors in three threads on one GPU: each result is the one alone.
- No step of an edit waits for the GPU: seen there for each inversion, HeadRouter, injection, velocity operators and local blending
  by differences, and on the stand-in for local blending under a given mask, `attention-maps`, `head-dropout` and
  `head-swap`.""".splitlines()


def outcome(feature: str, backbone: str) -> str:
    """``works``, or the sentence with which it was refused."""
    try:
        FEATURES[feature](COLUMNS[backbone]())
    except HeadRouterError as error:
        return f"refused: {error}"
    return WORKS


def table(outcomes: dict[tuple[str, str], str]) -> str:
    """The page, with refusals as numbered notes."""
    notes: list[str] = []
    lines = [
        "# Features by model",
        "",
        "Tried on tiny pipelines of diffusers' real classes with random weights, on the CPU in float32. `make features` tries",
        "every cell and writes this page. The suite tries all cells of Flux and SD3 again, and each row on one of the other",
        "families in turn. Where a model refuses, it says why in the sentence below the table.",
        "",
        "The last three columns edit by instructions: the prompt is the instruction, and there is no source prompt. FLUX.2 takes",
        "captions too, which the inversions other than `instruct` give it; by `instruct` it is given two pictures.",
        "",
        *EXACTNESS,
        "",
        "| | " + " | ".join(COLUMNS) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for feature in FEATURES:
        cells = []
        for backbone in COLUMNS:
            text = outcomes[feature, backbone]
            if text != WORKS:
                if text not in notes:
                    notes.append(text)
                text = f"refused [{notes.index(text) + 1}]"
            cells.append(text)
        lines.append(f"| {feature} | " + " | ".join(cells) + " |")
    numbered = (f"{number}. {note}" for number, note in enumerate(notes, 1))
    return "\n".join([*lines, "", *numbered, "", *SIDE_BY_SIDE, "", *ON_A_GPU, ""])


def known(page: Path = TABLE) -> dict[tuple[str, str], str]:
    """What the page says."""
    lines = page.read_text(encoding="utf-8").splitlines()
    notes = {line.split(". ", 1)[0]: line.split(". ", 1)[1] for line in lines if line[:1].isdigit()}
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    _, *columns = rows[0]
    return {
        (feature, column): notes[cell.removeprefix("refused [").rstrip("]")] if cell != WORKS else WORKS
        for feature, *cells in rows[1:]
        for column, cell in zip(columns, cells, strict=True)
    }


def tried() -> list[tuple[str, str]]:
    """The cells that the suite tries: each row on one of the families, in turn."""
    own = [(feature, backbone) for feature in FEATURES for backbone in BACKBONES]
    families = [*FAMILIES, *INSTRUCTED]
    return own + [
        (feature, family) for row, feature in enumerate(FEATURES) for family in families[row % len(families) :][:1]
    ]


@pytest.mark.filterwarnings("ignore::headrouter.errors.SourceWarning")
@pytest.mark.parametrize(("feature", "backbone"), tried())
def test_the_page_says_what_happens(feature: str, backbone: str) -> None:
    assert known()[feature, backbone] == outcome(feature, backbone)


def test_the_page_has_no_other_rows() -> None:
    assert set(known()) == {(feature, backbone) for feature in FEATURES for backbone in COLUMNS}


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    names = [name for name in sys.argv[1:] if name in FEATURES] or list(FEATURES)
    columns = [name for name in sys.argv[1:] if name in COLUMNS] or list(COLUMNS)
    outcomes = known() if sys.argv[1:] else {}
    outcomes |= {(name, backbone): outcome(name, backbone) for name in names for backbone in columns}
    TABLE.write_text(table(outcomes), encoding="utf-8")
