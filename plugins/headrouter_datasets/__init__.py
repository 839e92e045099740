"""Register data sets of edits that others published, and of one's own pictures."""

from collections.abc import Callable
from typing import Final

from headrouter.plugins.specifications import DatasetSpec, hookimpl

headrouter_api = 1

_SETS: Final = (
    ("pie-bench", "pie_bench:PieBench", "700 edits of ten kinds, with masks (arXiv:2310.01506)."),
    ("pie-bench-pp", "pie_bench_pp:PieBenchPlusPlus", "PIE-Bench with several aspects an edit, in Parquet files."),
    ("tedbench", "tedbench:TEdBench", "100 edits that change much, without source prompts (arXiv:2210.09276)."),
    ("tedbench-pp", "tedbench:TEdBenchPlusPlus", "TEdBench, revised by the authors of LEDITS++ (arXiv:2311.16711)."),
    ("editeval", "editeval:EditEval", "50 edits of seven kinds, version 1 (arXiv:2402.17525)."),
    ("flowedit-yaml", "flowedit_yaml:FlowEditYaml", "Edits in the YAML form of FlowEdit's authors (arXiv:2412.08629)."),
    ("together", "together:Together", "Several data sets as one."),
    ("pictures", "pictures:Pictures", "Pictures of your own, and a CSV or JSONL file of edits."),
)


@hookimpl
def register_datasets(register: Callable[[DatasetSpec], None]) -> None:
    """Register the data sets."""
    for name, target, summary in _SETS:
        register(DatasetSpec(name=name, target=f"headrouter_datasets.{target}", summary=summary))
