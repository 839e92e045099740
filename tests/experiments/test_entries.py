"""The file that a run folder gives for each configuration makes the same configuration, and a cell of it the same picture."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from experiments import light
from headrouter.config.yaml_document import read_yaml
from headrouter.experiments.configuration import AnyConfiguration, OtherConfiguration
from headrouter.experiments.file.reading import read_experiment
from headrouter.experiments.file.references import references_of
from headrouter.experiments.page.gathering import gather
from headrouter.experiments.page.reproducing import command, experiment_file
from headrouter.experiments.run_folder.folder import picture_of
from headrouter.experiments.running.runner import run
from headrouter.experiments.selection import select
from headrouter.plugins import reload


@pytest.fixture(autouse=True, scope="module")
def _light() -> Iterator[None]:
    light.registered()
    yield
    reload()


def every() -> list[AnyConfiguration]:
    one = light.toy("rf + both", "rf", ["headrouter", "local-blend"], keep=0.4, steps=3, guidance=2.0, size=(48, 32))
    return [
        one,
        light.toy("flowedit", "flowedit", negative_prompt="grey"),
        light.toy("operated", "euler", operator="gate"),
        light.toy("masked", "rf", "local-blend", mask="attention | words", paste=True),
        light.toy("preset", "rf", "headrouter", preset="stylization"),
        *references_of([one], ("source", "target")),
        OtherConfiguration("upside", light.Upside(fails_on="blue")),
    ]


def test_a_file_makes_the_same_configuration_and_cell(tmp_path: Path) -> None:
    experiment = light.experiment(*every(), seeds=(0, 5), pictures=2)
    records = {
        (one.configuration, one.item, one.seed): one for one in run(experiment, tmp_path / "run", progress=False)
    }
    gathered = gather(tmp_path / "run")
    for ran in gathered.configurations:
        path = tmp_path / "one.yaml"
        path.write_text(experiment_file(gathered, ran), encoding="utf-8")
        again = read_experiment(read_yaml(path))
        same = [one for one in again.configurations if one.hash == ran.hash and one.name == ran.name]
        assert [(one.group, again.seeds_of(one)) for one in same] == [(ran.group, ran.seeds)], ran.name
        assert again.describe()["dataset"] == experiment.describe()["dataset"]
    assert "--item ITEM --set 'seeds=[SEED]'" in command(ran)
    for one in run(again, tmp_path / "again", items=select(again.items, keys=["001-1"]), progress=False):
        if one.configuration == ran.name:
            before = picture_of(tmp_path / "run", records[one.configuration, "001-1", one.seed])
            after = picture_of(tmp_path / "again", one)
            assert np.abs(np.subtract(before, after, dtype=int)).max() <= 1  # another batch, so perhaps not to the bit


def test_a_part_without_a_name_has_no_file() -> None:
    from headrouter.experiments.file.entries import entry_of

    class Unnamed(light.Upside):
        pass

    assert entry_of(OtherConfiguration("unnamed", Unnamed())) == {}
