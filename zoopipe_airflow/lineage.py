"""What a task tells others of its load: asset events for Airflow, facets for OpenLineage.

    a pipe, when it is built ─▶ LoadFacts ─┬─▶ counts in the events of assets
    its report, when it has run ───────────┴─▶ OperatorLineage: inputs, outputs, columns, rows, bytes

The provider of OpenLineage is imported only when it asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoopipe_airflow.datasets import Dataset, columns_of, inputs_of, output_of, rejects_of

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import BaseOperator, Context

    from zoopipe_core import Pipe, PipeReport

__all__ = ["LoadFacts", "asset_extra", "tell_assets", "to_openlineage"]


@dataclass
class LoadFacts:
    """One load of a task: what is known of it that may be told to anybody.

    Attributes:
        inputs, output, rejects: what it reads and writes, as far as it has a name.
        columns: names and Python types of the fields of its model.
        report: how it ended; None until then.
    """

    inputs: list[Dataset]
    output: Dataset | None
    rejects: Dataset | None
    columns: list[tuple[str, str]] = field(default_factory=list)
    report: PipeReport | None = None

    @classmethod
    def of(cls, pipe: Pipe) -> LoadFacts:
        """What is known of a pipe before it runs."""
        return cls(inputs_of(pipe), output_of(pipe), rejects_of(pipe), columns_of(pipe))

    @property
    def written(self) -> list[Dataset]:
        """What there is to be told of once the load is complete."""
        if self.report is None or self.report.has_error:
            return []
        rejects = self.rejects if self.report.rejected_rows else None
        return [each for each in (self.output, rejects) if each is not None]


def asset_extra(report: PipeReport) -> dict[str, Any]:
    """What the event of an asset says of the load behind it: plain JSON.

    >>> from zoopipe_core import PipeReport
    >>> asset_extra(PipeReport(read_rows=3, loaded_rows=2, rejected_rows=1))["rejected_rows"]
    1
    """
    return {
        "load_id": report.load_id,
        "read_rows": report.read_rows,
        "loaded_rows": report.loaded_rows,
        "rejected_rows": report.rejected_rows,
        "filtered_rows": report.filtered_rows,
        "added_rows": report.added_rows,
        "bytes_read": report.bytes_read,
        "bytes_written": report.bytes_written,
        "duration_seconds": round(report.duration_seconds, 3),
    }


def tell_assets(
    operator: BaseOperator, context: Context, facts: Sequence[LoadFacts], total: PipeReport, infer: bool
) -> None:
    """Put counts into the events of the task's outlets.

    Args:
        operator: its outlets are assets, which get the counts of the load that writes them, or of all loads if that
            cannot be told; and aliases, under which all that was written becomes an asset.
        context: of the task.
        facts: of each load.
        total: the report of all loads together.
        infer: have an alias of the task's own, so that what was written becomes assets without being declared.
    """
    from airflow.sdk import Asset, AssetAlias

    if infer:
        operator.outlets.append(AssetAlias(f"{operator.dag_id}.{operator.task_id}"))
    written = [
        (Asset(name=each.uri, uri=each.uri), asset_extra(load.report))
        for load in facts
        if load.report is not None
        for each in load.written
    ]
    extras = {asset.uri: extra for asset, extra in written}  # as Airflow has normalized it
    events = context["outlet_events"]
    declared = [outlet for outlet in operator.outlets if isinstance(outlet, Asset)]
    for asset in declared:
        events[asset].extra = {**events[asset].extra, **extras.get(asset.uri, asset_extra(total))}
    known = {asset.uri for asset in declared}
    for alias in operator.outlets:
        if isinstance(alias, AssetAlias):
            for asset, extra in written:
                if asset.uri not in known:
                    events[alias].add(asset, extra=extra)


def to_openlineage(facts: Iterable[LoadFacts]) -> OperatorLineage[Any, Any]:
    """Inputs and outputs of the loads, with columns, rows and bytes; without these, if a load has failed.

    Raises:
        ImportError: the provider of OpenLineage is not installed.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import (
        input_statistics_input_dataset,
        schema_dataset,
    )

    inputs: list[InputDataset] = []
    outputs: list[OutputDataset] = []
    for load in facts:
        report = load.report
        for each in load.inputs:
            statistics: dict[str, Any] = {}
            if len(load.inputs) == 1 and report is not None:
                statistics["inputStatistics"] = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
                    rowCount=report.read_rows, size=report.bytes_read or None
                )
            inputs.append(InputDataset(each.namespace, each.name, inputFacets=statistics))
        if load.output is not None:
            columns = [schema_dataset.SchemaDatasetFacetFields(name, kind) for name, kind in load.columns]
            schema: dict[str, Any] = {"schema": schema_dataset.SchemaDatasetFacet(fields=columns)} if columns else {}
            done = report is not None and not report.has_error
            rows = {} if report is None or not done else _rows(report.loaded_rows, report.bytes_written or None)
            outputs.append(OutputDataset(load.output.namespace, load.output.name, facets=schema, outputFacets=rows))
        if load.rejects is not None and report is not None and report.rejected_rows:
            rows = _rows(report.rejected_rows, None)
            outputs.append(OutputDataset(load.rejects.namespace, load.rejects.name, outputFacets=rows))
    return OperatorLineage(inputs=inputs, outputs=outputs)


def _rows(count: int, size: int | None) -> dict[str, Any]:
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    facet = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=count, size=size)
    return {"outputStatistics": facet}
