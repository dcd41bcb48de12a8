"""Import this before Prefect: its examples then keep to the current folder and work without a network.

No server has to run, nothing is written to your home folder, nothing is sent anywhere, and only warnings are logged.
Prefect reads its settings while it is imported. Whatever you set yourself stays as it is.
"""

import os
from pathlib import Path

HOME = Path(os.environ.setdefault("PREFECT_HOME", str(Path.cwd() / ".prefect")))
HOME.mkdir(parents=True, exist_ok=True)

SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",  # takes seconds, and no block is used
    "PREFECT_LOCAL_STORAGE_PATH": str(HOME / "storage"),
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_MEMO_STORE_PATH": str(HOME / "memo_store.toml"),
}
for name, value in SETTINGS.items():
    os.environ.setdefault(name, value)
