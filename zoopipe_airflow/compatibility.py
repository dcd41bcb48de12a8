"""What lies in another place in another version of Airflow."""

from __future__ import annotations

try:
    from airflow.sdk.exceptions import AirflowSkipException, TaskDeferralError, TaskDeferralTimeout
except ImportError:  # before task SDK 1.2, with Airflow 3.1
    from airflow.exceptions import AirflowSkipException, TaskDeferralError, TaskDeferralTimeout  # type: ignore[no-redef]

__all__ = ["AirflowSkipException", "TaskDeferralError", "TaskDeferralTimeout"]
