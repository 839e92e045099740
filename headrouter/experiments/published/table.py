"""Read tables of published figures: whose they are, of which data, by which protocol, and where they are printed."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, model_validator
from typing_extensions import Self

from headrouter.config.configuration import Parameters, validate
from headrouter.config.yaml_document import parse_yaml, read_yaml
from headrouter.errors import InvalidInputError, UnknownNameError

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Protocol = Literal["same", "unconfirmed", "other"]
"""Whether a figure was measured as ours is: known to be so, not said by the source, or known to be otherwise."""
_FOLDER: Final = files("headrouter.experiments.published") / "tables"


class PublishedColumn(Parameters):
    """Describes a metric of a published table.

    Attributes:
        title: As it is printed: "PSNR".
        unit: "dB"; empty for numbers without unit.
        better: Which of two values is the better one.
        digits: Behind the point, as it is printed.
        factor: Of a printed value, to be in the unit in which our columns are stored: 0.001 where a table prints thousandths.
        beside: Our columns beside which it stands, ``pie-v1.psnr_unedit_part``: registered name of a metric, and its column.
        parameters: Those that our metric must have to be this one.
        protocol: Whether it was measured as our columns are.
        remark: What is known of how it was measured, and in what that differs; a sentence, which a table prints below itself.
    """

    title: Text
    unit: str = ""
    better: Literal["higher", "lower"]
    digits: int = Field(2, ge=0, le=6)
    factor: float = Field(1.0, gt=0)
    beside: tuple[Text, ...] = Field(min_length=1)
    parameters: dict[str, Any] = Field(default_factory=dict)
    protocol: Protocol
    remark: str = ""

    @model_validator(mode="after")
    def _says_what_differs(self) -> Self:
        if self.protocol != "same" and not self.remark.strip():
            raise ValueError(f"a protocol that is {self.protocol!r} must have a `remark` that says why")
        if lacking := [one for one in self.beside if "." not in one]:
            raise ValueError(f"`beside` must name columns as METRIC.COLUMN, got {lacking[0]!r}")
        return self


class PublishedRow(Parameters):
    """Holds the figures of one system.

    Attributes:
        system: Its name: "FlowEdit".
        model: The model that it edits with: "FLUX.1-dev".
        values: By column; one that the source does not give is left out.
        remark: What else is known of it: steps, who ran it, what speaks against a figure.
    """

    system: Text
    model: Text
    values: dict[str, float] = Field(min_length=1)
    remark: str = ""


class PublishedTable(Parameters):
    """Holds figures as one source prints them.

    Attributes:
        title: "HeadRouter, table 1".
        source: Where it is printed: number of the paper and of the table.
        datasets: Registered names of the data sets.
        edits: Number of edits of which the figures are means.
        remark: What holds for all of it; a sentence.
        columns: By name.
        rows: By a short name, which experiment files use.
    """

    title: Text
    source: Text
    datasets: tuple[Text, ...] = Field(min_length=1)
    edits: int = Field(ge=1)
    remark: str = ""
    columns: dict[str, PublishedColumn] = Field(min_length=1)
    rows: dict[str, PublishedRow] = Field(min_length=1)

    @model_validator(mode="after")
    def _rows_have_columns(self) -> Self:
        for name, row in self.rows.items():
            if unknown := [one for one in row.values if one not in self.columns]:
                raise ValueError(
                    f"row {name!r} has a value of {unknown[0]!r}, which is none of the columns {', '.join(self.columns)}"
                )
        return self


def known_tables() -> list[str]:
    """Return the names of the tables that come along."""
    return sorted(one.name.removesuffix(".yaml") for one in _FOLDER.iterdir() if one.name.endswith(".yaml"))


def published_table(name: str) -> PublishedTable:
    """Return a table by its name, or one of your own by the path of its YAML file.

    Raises:
        UnknownNameError: no such table.
        InvalidInputError: a file that cannot be read, or all that is wrong in it, with places.
    """
    if name.endswith((".yaml", ".yml")):
        document = read_yaml(Path(name))
    elif name in known_tables():
        document = parse_yaml((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")
    else:
        close = get_close_matches(name, known_tables(), n=1)
        raise UnknownNameError(
            f"unknown table of published figures {name!r}.{f' Did you mean {close[0]!r}?' if close else ''} "
            f"Known: {', '.join(known_tables())}; or the path of a YAML file of your own."
        )
    if not isinstance(document.data, Mapping):
        raise InvalidInputError(
            f"{document.name}: a table of published figures must be a mapping with `columns` and `rows`."
        )
    return validate(PublishedTable, document)
