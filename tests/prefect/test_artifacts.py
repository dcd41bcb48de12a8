"""Reports as Prefect shows them: pure functions."""

import re

from hypothesis import given
from hypothesis import strategies as st

from zoopipe_core import PipeReport, PipeStatus
from zoopipe_core.report import ExceptionInfo, RejectionSummary
from zoopipe_prefect import report_markdown
from zoopipe_prefect.artifacts import artifact_key

REPORT = PipeReport(
    status=PipeStatus.COMPLETED,
    source="users.csv",
    target="warehouse.duckdb::users",
    rejects_target="rejects/users.csv",
    read_rows=1_003,
    loaded_rows=1_000,
    rejected_rows=2,
    filtered_rows=1,
    duration_seconds=0.5,
    read_seconds=0.1,
    validate_seconds=0.2,
    write_seconds=0.15,
    peak_ram_bytes=148_000_000,
    rejections=(RejectionSummary("address.zip", "int_parsing", 2, "users.csv", 17),),
    notes=("one member was skipped",),
)


def test_a_report_is_a_page() -> None:
    assert report_markdown(REPORT) == (
        "### users.csv → warehouse.duckdb::users: COMPLETED\n"
        "\n"
        "| read | loaded | rejected | filtered | added |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| 1,003 | 1,000 | 2 | 1 | 0 |\n"
        "\n"
        "| seconds | rows/s | reading | validating | hooks | writing | peak memory |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        "| 0.50 | 2,006 | 0.10 | 0.20 | 0.00 | 0.15 | 148 MB |\n"
        "\n"
        "#### Rejected rows\n"
        "\n"
        "| field | error | rows | for example |\n"
        "| --- | --- | --- | --- |\n"
        "| address.zip | int\\_parsing | 2 | users.csv row 17 |\n"
        "\n"
        "Rejects are in rejects/users.csv.\n"
        "\n"
        "- one member was skipped\n"
    )


def test_an_error_is_shown_as_it_was_written() -> None:
    error = ExceptionInfo("ColumnNotFoundError", "no column 'a'\n  found: <b>, `c`\n```")
    page = report_markdown(PipeReport(status=PipeStatus.FAILED, exception=error))
    assert page.endswith("**ColumnNotFoundError**\n\n    no column 'a'\n      found: <b>, `c`\n    ```\n")


@given(name=st.text(alphabet=st.sampled_from("a|`*_<>&#[]\\\n\r\u2028 ~")))
def test_no_name_can_change_the_page(name: str) -> None:
    rejection = RejectionSummary(name, "missing", 1, name, 1)
    page = report_markdown(PipeReport(source=name, target=name, rejections=(rejection,), notes=(name,)))
    plain = report_markdown(PipeReport(source="a", target="a", rejections=(rejection,), notes=("a",)))
    assert page.count("\n") == plain.count("\n")
    [row] = [line for line in page.splitlines() if "missing" in line]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 5
    assert not re.search(r"<(?!$)", page)


@given(name=st.text())
def test_every_name_makes_a_key_that_prefect_takes(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", artifact_key(name))
    assert artifact_key(name) == artifact_key(name)


def test_names_in_other_alphabets_have_keys_of_their_own() -> None:
    assert artifact_key("рейсы") != artifact_key("погода")
