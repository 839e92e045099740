"""Choose which published figures stand beside an experiment's own, and keep the choice in its run folder."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from headrouter.config.configuration import Parameters, validate
from headrouter.errors import InvalidInputError
from headrouter.experiments.configuration import AnyConfiguration
from headrouter.experiments.published.table import PublishedTable, published_table
from headrouter.files import LARGEST_TEXT, read_file

FILE: Final = "published.json"
"""In a run folder: a copy of the chosen tables, which stays as it was when the experiment was run last."""
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class PublishedChoice(Parameters):
    """Describes one table that stands beside an experiment's results.

    Attributes:
        table: Its name, or the path of a YAML file of your own.
        beside: For names or keys of our configurations, ``flux/rf``, the row of the table beside which each stands.
        missing: For rows of the table, why no configuration of ours stands beside them.
    """

    table: Text
    beside: dict[str, Text] = Field(default_factory=dict)
    missing: dict[str, Text] = Field(default_factory=dict)


class Chosen(Parameters):
    """Holds a chosen table with all its figures.

    Attributes:
        choice: As the experiment's file has it.
        table: The figures.
    """

    choice: PublishedChoice
    table: PublishedTable


def chosen_tables(
    choices: Sequence[PublishedChoice], configurations: Sequence[AnyConfiguration], *, all_there: bool = True
) -> list[Chosen]:
    """Look up the tables of an experiment's file, and check what it says of them.

    Args:
        choices: Of the file.
        configurations: Of the experiment.
        all_there: Refuse names of configurations that the experiment does not have; one whose parts were changed from outside
            the file may lack some.

    Raises:
        HeadRouterError: an unknown table, row or configuration, or a row that is missing and there at once.
    """
    known = {name for one in configurations for name in (one.name, one.key)}
    found = []
    for choice in choices:
        table = published_table(choice.table)
        for owner, row in [("beside", row) for row in choice.beside.values()] + [
            ("missing", row) for row in choice.missing
        ]:
            if row not in table.rows:
                raise InvalidInputError(
                    f"`{owner}`: {choice.table!r} has no row {row!r}. It has {', '.join(table.rows)}."
                )
        if both := sorted(set(choice.beside.values()) & set(choice.missing)):
            raise InvalidInputError(f"`missing` names {both[0]!r}, beside which `beside` puts a configuration.")
        if all_there and (unknown := [name for name in choice.beside if name not in known]):
            names = ", ".join(dict.fromkeys(one.key for one in configurations))
            raise InvalidInputError(f"`beside`: {unknown[0]!r} is none of the configurations: {names}.")
        found.append(Chosen(choice=choice, table=table))
    return found


def as_file(chosen: Iterable[Chosen]) -> bytes:
    """Return the content of :data:`FILE`."""
    plain = [one.model_dump(mode="json") for one in chosen]
    return json.dumps({"published": plain}, indent=1, ensure_ascii=False).encode()


def read_chosen(folder: Path) -> list[Chosen]:
    """Return the tables that were chosen when a run folder's experiment was run last; none without such a file.

    Raises:
        InvalidInputError: the file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        plain: Any = json.loads(read_file(path, "run folder", LARGEST_TEXT).decode())
        if not isinstance(plain, Mapping) or not isinstance(plain.get("published"), list):
            raise ValueError("it holds no list of tables")
        return [validate(Chosen, one) for one in plain["published"]]
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"'{path}' is damaged: {error}. Run the experiment again; nothing is made twice."
        ) from error
