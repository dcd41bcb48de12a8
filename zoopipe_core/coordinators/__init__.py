"""How the work of several pipes becomes one published result. See `zoopipe_core.coordinators.base`."""
