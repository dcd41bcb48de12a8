"""Where pipes run: processes of this machine, a warm pool, Ray, Dask. See `zoopipe_core.engines.base`."""
