"""What a model costs: each field's route, why it is not a faster one, and how often the slow way was taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from zoopipe_core.batches.source import SourceBatch, SourceKind
from zoopipe_core.schema.columns import judge_columns
from zoopipe_core.schema.json_columns import judge_json
from zoopipe_core.schema.plan import ModelPlan, Route

__all__ = ["Explanation", "FieldExplanation", "Sample", "explain_plan"]


@dataclass(frozen=True, slots=True)
class FieldExplanation:
    """One field.

    Attributes:
        name: the field's name.
        route: how its cells are judged.
        kernel: the kernel that judges them; empty if pydantic does.
        reason: why not faster; empty on the kernel route.
        slow_rows: rows of the sample that this field sent to pydantic; None without a sample.
    """

    name: str
    route: Route
    kernel: str
    reason: str
    slow_rows: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """How a sample of rows was judged.

    Attributes:
        rows: rows in the sample.
        slow_rows: those that went whole to pydantic, accepted by it or not.
    """

    rows: int
    slow_rows: int


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """The routes of a model; printed, it is a table.

    Attributes:
        model: the model's name.
        fields: in the model's order.
        row_reason: why whole rows go to pydantic, whatever the fields' routes; empty if they do not.
        sample: how a sample was judged; None without one.
    """

    model: str
    fields: tuple[FieldExplanation, ...]
    row_reason: str
    sample: Sample | None = None

    def __str__(self) -> str:
        head = ["field", "route", "kernel", "why not faster"]
        rows = [[f.name, f.route.value, f.kernel, f.reason] for f in self.fields]
        if self.sample is not None:
            head.append("slow rows")
            for row, f in zip(rows, self.fields, strict=True):
                row.append(f"{f.slow_rows or 0:,}")
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [head, ["-" * width for width in widths], *rows]
        ]
        if self.row_reason:
            lines.append(f"Every row goes whole to pydantic: {self.row_reason}.")
        if self.sample is not None:
            share = self.sample.slow_rows / max(self.sample.rows, 1)
            lines.append(
                f"Of {self.sample.rows:,} rows sampled, {self.sample.slow_rows:,} ({share:.2%}) went whole to pydantic."
            )
        return "\n".join([f"{self.model}:", *lines])

    __repr__ = __str__


def explain_plan(plan: ModelPlan, batches: Iterable[SourceBatch] | None = None) -> Explanation:
    """Explain a plan, and judge `batches` by it to see which rows take the slow way.

    >>> from pydantic import BaseModel
    >>> from zoopipe_core.schema.plan import plan_of
    >>> class User(BaseModel):
    ...     id: int
    ...     tags: list[str]
    >>> print(explain_plan(plan_of(User)))
    User:
    field  route   kernel  why not faster
    -----  ------  ------  ------------------
    id     kernel  int
    tags   field           list has no kernel
    """
    slow: dict[str, int] | None = None
    sample = None
    if batches is not None:
        slow, sample = _judge(plan, batches)
    fields = tuple(
        FieldExplanation(
            f.name,
            f.route,
            f.kernel.name if f.kernel is not None and f.route is Route.KERNEL else "",
            f.reason,
            None if slow is None else slow.get(f.name, 0),
        )
        for f in plan.fields
    )
    return Explanation(plan.name, fields, plan.row_reason, sample)


def _judge(plan: ModelPlan, batches: Iterable[SourceBatch]) -> tuple[dict[str, int], Sample]:
    slow = {f.name: 0 for f in plan.fields}
    rows = slow_rows = 0
    for batch in batches:
        rows += batch.num_rows
        is_json = batch.kind is SourceKind.JSON
        judged = judge_json(plan, batch) if is_json else judge_columns(plan, batch, kernels=True)
        if judged is None:
            slow_rows += batch.num_rows
            continue
        slow_rows += int(np.count_nonzero(judged.unsure))
        for name, count in judged.unsure_by_field.items():
            slow[name] += count
    return slow, Sample(rows, slow_rows)
