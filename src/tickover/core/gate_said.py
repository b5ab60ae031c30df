"""A word of the stop gate, as the journal and the run's row keep it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tickover.core.evidence import CheckId, CheckList, CheckResult


class GateSaid(BaseModel):
    """What one check said when the agent wanted to stop."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    list: CheckList
    index: int = Field(ge=0)
    kind: str
    result: CheckResult
    summary: str = ""

    @property
    def id(self) -> CheckId:
        return CheckId(self.list, self.index)
