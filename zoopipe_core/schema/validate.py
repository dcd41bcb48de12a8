"""Validation of batches: each `SourceBatch` becomes accepted rows and rejects.

    columns   each field's cells go to pydantic in one call; a row with a cell that was not accepted goes whole to
              pydantic, whose verdict, value and error texts are final
    rows      whole rows go to pydantic, a batch in one call; those not accepted once more, for their errors

Whichever way a row takes, the result equals ``Model.model_validate(row).model_dump()``, and for JSON sources
``Model.model_validate_json(line)``. One bad row changes nothing for its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import ValidationError
from pydantic_core import from_json

from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.rejects import RejectBatch
from zoopipe_core.batches.source import JSON_COLUMN, RowNumbers, SourceBatch, SourceKind, index_array
from zoopipe_core.batches.types import STRING
from zoopipe_core.errors import ValidatorError
from zoopipe_core.kernels.switch import SWITCH
from zoopipe_core.schema.cells import BadCells, cell_values
from zoopipe_core.schema.columns import JudgedColumns, judge_columns
from zoopipe_core.schema.plan import UNSURE, ModelPlan
from zoopipe_core.schema.rejecting import ErrorsByRow, dicts_of, rejects_of, source_rows
from zoopipe_core.schema.repeats import Repeat, RepeatedCells, Verdict, find_repeats

__all__ = ["Validated", "Validator"]


@dataclass(frozen=True, slots=True)
class Validated:
    """The verdict on one batch: accepted rows with the model's types, and rejects; both in input order."""

    good: ModelBatch
    rejects: RejectBatch


@dataclass(slots=True)
class _Rows:
    """Verdicts on whole rows, by index: the dump of each accepted one, the errors of each rejected one."""

    accepted: dict[int, dict[str, Any]] = field(default_factory=dict)
    errors: ErrorsByRow = field(default_factory=dict)
    json_lines: dict[int, bytes] = field(default_factory=dict)


class Validator:
    """Applies a `ModelPlan` to batches. What it remembers changes no verdict; it may be used by several threads.

    Args:
        plan: the model's plan; None lets every row through, text as text.
        wants_json: whether the output is JSON, so that a model's own JSON text is kept for it.
    """

    def __init__(self, plan: ModelPlan | None, wants_json: bool = False) -> None:
        self._plan = plan
        self._wants_json = wants_json
        self._repeats = RepeatedCells()

    def validate(self, batch: SourceBatch) -> Validated:
        """Judge every row of `batch`.

        Raises:
            ValidatorError: a validator of the model raised something that pydantic does not take as a rejection.
        """
        errors: ErrorsByRow = {}
        kernels = SWITCH.ready(batch.num_rows)  # for every kind of batch: writers use them too
        if self._plan is None:
            good = self._pass_through(batch, errors)
        elif batch.kind is SourceKind.JSON:
            good = self._json(self._plan, batch, errors, kernels)
        elif batch.kind is SourceKind.OBJECTS:
            good = self._whole_rows(self._plan, batch, batch.objects or (), errors, {})
        else:
            good = self._columns(self._plan, batch, errors, kernels)
        return Validated(good, rejects_of(batch, errors))

    # ---- columns ----------------------------------------------------------------------------------------------

    def _columns(self, plan: ModelPlan, batch: SourceBatch, errors: ErrorsByRow, kernels: bool) -> ModelBatch:
        judged = judge_columns(plan, batch, kernels)
        if judged is None:
            cells, bad = _decode(batch, plan.source_columns)
            return self._whole_rows(plan, batch, dicts_of(cells, batch.num_rows), errors, bad)
        if not judged.unsure.any():
            return judged.collect(batch, {})
        open_questions: list[Repeat] = []
        for repeat in find_repeats(batch, judged):
            known = self._repeats.get(repeat)
            if known is not None and (known.errors or judged.complete):
                _apply(known, repeat, repeat.rows, judged, errors)
            elif len(repeat.rows) > 1:
                open_questions.append(repeat)
        whole = judged.unsure.copy()
        whole[list(errors)] = False
        for repeat in open_questions:
            whole[repeat.rows[1:]] = False  # the first row answers for all of them
        verdict = self._decoded_rows(plan, batch, np.flatnonzero(whole))
        for repeat in open_questions:
            self._answer(plan, batch, repeat, verdict, judged)
        errors.update(verdict.errors)
        return judged.collect(batch, verdict.accepted)

    def _decoded_rows(self, plan: ModelPlan, batch: SourceBatch, rows: RowNumbers) -> _Rows:
        """Pydantic's verdict on some rows, by their indices."""
        if not len(rows):
            return _Rows()
        cells, bad = _decode(batch, plan.source_columns, rows)
        places = rows.tolist()
        dicts = dicts_of(cells, len(places))
        good = [i for i in range(len(places)) if i not in bad] if bad else range(len(places))
        verdict = self._judge(plan, batch, [dicts[i] for i in good], [places[i] for i in good])
        verdict.errors.update({places[i]: [error] for i, error in bad.items()})
        return verdict

    def _answer(
        self, plan: ModelPlan, batch: SourceBatch, repeat: Repeat, verdict: _Rows, judged: JudgedColumns
    ) -> None:
        """What the verdict on the first row of `repeat` says about the others."""
        first, others = int(repeat.rows[0]), repeat.rows[1:]
        errors = verdict.errors.get(first, ())
        of_cell = all(error["loc"] and error.get("input", repeat.text) == repeat.text for error in errors)
        if of_cell and (errors or judged.complete):
            output = repeat.field.output
            value = None if errors or output is None else verdict.accepted[first][output]
            found = Verdict(errors, value)
            self._repeats.learn(repeat, found)
            _apply(found, repeat, others, judged, verdict.errors)
        else:  # they are about more than the cell, or not all that goes with its value is there
            rest = self._decoded_rows(plan, batch, others)
            verdict.errors.update(rest.errors)
            verdict.accepted.update(rest.accepted)

    # ---- rows -------------------------------------------------------------------------------------------------

    def _whole_rows(
        self, plan: ModelPlan, batch: SourceBatch, rows: Sequence[Any], errors: ErrorsByRow, bad: BadCells
    ) -> ModelBatch:
        indices = [index for index in range(len(rows)) if index not in bad]
        verdict = self._judge(plan, batch, [rows[i] for i in indices] if bad else rows, indices)
        errors.update({index: [error] for index, error in bad.items()})
        errors.update(verdict.errors)
        return self._collected(plan, batch, verdict)

    def _judge(self, plan: ModelPlan, batch: SourceBatch, rows: Sequence[Any], indices: Sequence[int]) -> _Rows:
        """Pydantic's verdict on whole rows; `indices` are their places in the batch."""
        verdict = _Rows()
        if not rows:
            return verdict
        instances = self._in_one_call(plan, rows)
        if instances is not None:
            failed = [place for place, instance in enumerate(instances) if instance is UNSURE]
            found = self._errors_in_one_call(plan, [rows[place] for place in failed])
            verdict.errors.update((indices[failed[place]], errors) for place, errors in found.items())
        for place, (index, row) in enumerate(zip(indices, rows, strict=True)):
            instance = UNSURE if instances is None else instances[place]
            if instance is not UNSURE:
                self._accept(plan, batch, index, instance, verdict)
            elif index not in verdict.errors:
                self._judge_one(plan, batch, index, plan.validate_python, row, verdict)
        if verdict.errors and batch.names and batch.kind is not SourceKind.JSON:
            _show_whole_rows(
                batch, verdict, {i: row for i, row in zip(indices, rows, strict=True) if i in verdict.errors}
            )
        return verdict

    @staticmethod
    def _in_one_call(plan: ModelPlan, rows: Sequence[Any]) -> list[Any] | None:
        try:
            instances = plan.validate_many(list(rows))
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            return None
        return instances if len(instances) == len(rows) else None

    @staticmethod
    def _errors_in_one_call(plan: ModelPlan, rows: Sequence[Any]) -> dict[int, list[Any]]:
        """The errors of those rows that are rejected in the company of others just as they are alone."""
        if plan.row_reason or not rows:
            return {}
        try:
            plan.validate_all(list(rows))
        except ValidationError as error:
            found: dict[int, list[Any]] = {}
            for item in error.errors(include_url=False, include_context=False, include_input=not plan.hides_input):
                place, *loc = item["loc"]
                item["loc"] = tuple(loc)
                found.setdefault(int(place), []).append(item)
            return found
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
        return {}

    def _judge_one(
        self, plan: ModelPlan, batch: SourceBatch, index: int, validate: Callable[[Any], Any], row: Any, verdict: _Rows
    ) -> None:
        try:
            instance = validate(row)
        except ValidationError as error:
            verdict.errors[index] = error.errors(
                include_url=False, include_context=False, include_input=not plan.hides_input
            )
        except Exception as error:
            raise _validator_error(plan, batch, index, error) from error
        else:
            self._accept(plan, batch, index, instance, verdict)

    def _accept(self, plan: ModelPlan, batch: SourceBatch, index: int, instance: Any, verdict: _Rows) -> None:
        try:
            verdict.accepted[index] = plan.dump(instance)
            if self._wants_json and plan.custom_json:
                verdict.json_lines[index] = plan.dump_json(instance)
        except Exception as error:
            raise _validator_error(plan, batch, index, error) from error

    def _collected(self, plan: ModelPlan, batch: SourceBatch, verdict: _Rows) -> ModelBatch:
        indices = sorted(verdict.accepted)
        lines = [verdict.json_lines[i] for i in indices] if self._wants_json and plan.custom_json else None
        records = [verdict.accepted[i] for i in indices]
        return ModelBatch.from_rows(records, plan.types, batch.rows[indices], batch.source, lines)

    # ---- JSON -------------------------------------------------------------------------------------------------

    def _json(self, plan: ModelPlan, batch: SourceBatch, errors: ErrorsByRow, kernels: bool) -> ModelBatch:
        judged = self._json_columns(plan, batch) if kernels else None
        lines = batch.batch.column(JSON_COLUMN)
        unsure = np.arange(batch.num_rows) if judged is None else np.flatnonzero(judged.unsure)
        verdict = _Rows()
        texts = (lines if judged is None else lines.take(index_array(unsure))).to_pylist()
        for index, line in zip(unsure.tolist(), texts, strict=True):
            self._judge_one(plan, batch, index, plan.validate_json, line, verdict)
        errors.update(verdict.errors)
        return self._collected(plan, batch, verdict) if judged is None else judged.collect(batch, verdict.accepted)

    @staticmethod
    def _json_columns(plan: ModelPlan, batch: SourceBatch) -> JudgedColumns | None:
        from zoopipe_core.schema.json_columns import judge_json  # only now: a small load needs no kernel

        return judge_json(plan, batch)

    # ---- no model ---------------------------------------------------------------------------------------------

    def _pass_through(self, batch: SourceBatch, errors: ErrorsByRow) -> ModelBatch:
        if batch.kind is SourceKind.TYPED:
            return ModelBatch.from_arrow(batch.batch, batch.rows, batch.source)
        if batch.kind is SourceKind.TEXT:
            cells, bad = _decode(batch, None)
            errors.update({index: [error] for index, error in bad.items()})
            keep = np.array([i for i in range(batch.num_rows) if i not in bad], dtype=np.int64)
            whole = ModelBatch({n: Column(STRING, v) for n, v in cells.items()}, batch.rows, batch.source)
            return whole.take(keep) if bad else whole
        rows = batch.objects if batch.kind is SourceKind.OBJECTS else batch.batch.column(JSON_COLUMN).to_pylist()
        records, indices = [], []
        for index, row in enumerate(rows or ()):
            record, error = _as_record(row, batch.kind)
            if error:
                errors[index] = [error]
            else:
                records.append(record)
                indices.append(index)
        lines = None
        if self._wants_json and batch.kind is SourceKind.JSON:
            # JSON to JSON without a model: the text itself, so that no digit of a number is lost.
            texts = [bytes(rows[index]) for index in indices]  # type: ignore[index]
            lines = None if any(b"\n" in text or b"\r" in text for text in texts) else texts
        return ModelBatch.from_rows(records, {}, batch.rows[indices], batch.source, lines)


# ---- helpers ------------------------------------------------------------------------------------------------------


def _apply(verdict: Verdict, repeat: Repeat, rows: RowNumbers, judged: JudgedColumns, errors: ErrorsByRow) -> None:
    """A verdict that is known, for `rows` of `repeat`."""
    if verdict.errors:
        errors.update(dict.fromkeys(rows.tolist(), verdict.errors))
    else:
        judged.settle(repeat.field, rows, verdict.value)


def _decode(
    batch: SourceBatch, wanted: frozenset[str] | None, rows: RowNumbers | None = None
) -> tuple[dict[str, list[Any]], BadCells]:
    """The values of the wanted columns, all or those at the indices `rows`, and the rows that hold a cell without a
    value.
    """
    cells: dict[str, list[Any]] = {}
    bad: BadCells = {}
    taken = batch.batch if rows is None else batch.take(rows)
    for name, array in zip(taken.schema.names, taken.columns, strict=True):
        if wanted is None or name in wanted:
            cells[name], wrong = cell_values(name, array, batch.kind)
            for index, error in wrong.items():
                bad.setdefault(index, error)
    return cells, bad


def _as_record(row: Any, kind: SourceKind) -> tuple[Any, Mapping[str, Any] | None]:
    """A row as a dict when no model says what it is; or what is wrong with it."""
    if kind is SourceKind.JSON:
        try:
            row = from_json(row)
        except ValueError as error:
            shown = bytes(row).decode("utf-8", "backslashreplace")[:200]
            return None, {"type": "json_invalid", "loc": (), "msg": f"Invalid JSON: {error}", "input": shown}
    if isinstance(row, Mapping):
        return row, None
    dump = getattr(row, "model_dump", None)
    if dump is not None:
        return dump(), None
    shown = repr(row)[:200]
    return None, {"type": "not_a_row", "loc": (), "msg": "a row has to be an object with named values", "input": shown}


def _show_whole_rows(batch: SourceBatch, verdict: _Rows, given: Mapping[int, Any]) -> None:
    """Errors about a row as a whole show the row as pydantic got it, which may lack columns that were not decoded;
    show all that the source has.
    """
    for index, row in given.items():
        if any(error.get("input") is row for error in verdict.errors[index]):
            whole = source_rows(batch, [index])[0]
            verdict.errors[index] = [
                {**error, "input": whole} if error.get("input") is row else error for error in verdict.errors[index]
            ]


def _validator_error(plan: ModelPlan, batch: SourceBatch, index: int, error: Exception) -> ValidatorError:
    return ValidatorError(
        f"the model {plan.name} raised {type(error).__name__} on row {batch.rows[index]:,} of {batch.source}: {error}\n"
        "  Only ValueError, AssertionError and pydantic's own errors reject a row; anything else ends the load."
    )
