"""Loads whose driver lives on a cluster: who has started one may end, and others look at it later, from anywhere.

    with open_detached("dask", "tcp://10.0.0.1:8786") as cluster:
        cluster.start("nightly-1", pipe, workers=8)         the driver, a PipeManager, begins on one of the nodes
    ...
    with open_detached("dask", "tcp://10.0.0.1:8786") as cluster:
        cluster.look("nightly-1")                           the latest report; final when the load has ended
        cluster.forget("nightly-1")

The driver plans, launches its workers on the same cluster, and publishes: the target has to be reached from the nodes,
and they need this package. A pipe travels as to any worker of a cluster, with whatever secrets it holds.
"""

from __future__ import annotations

from zoopipe_core.detached.base import DetachedLoads, DetachedState, open_detached

__all__ = ["DetachedLoads", "DetachedState", "open_detached"]
