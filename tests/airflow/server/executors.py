"""An executor whose workers are what Celery's are: daemonic processes, which may have no `multiprocessing` children."""

import multiprocessing

from airflow.executors import local_executor
from airflow.executors.local_executor import LocalExecutor


class DaemonicExecutor(LocalExecutor):
    def _spawn_worker(self) -> None:
        worker = multiprocessing.Process(
            target=local_executor._run_worker,
            kwargs={
                "logger_name": self.log.name,
                "input": self.activity_queue,
                "output": self.result_queue,
                "unread_messages": self._unread_messages,
                "team_conf": self.conf,
            },
            daemon=True,
        )
        worker.start()
        self.workers[worker.pid] = worker
