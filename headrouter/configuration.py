"""temporary, replaced at merge"""

from pydantic import BaseModel, ConfigDict


class Parameters(BaseModel):
    """Base of parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
