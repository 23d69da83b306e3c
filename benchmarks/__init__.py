"""Genie's benchmarks, as `genie bench NAME` runs them; installed as `genie_benchmarks`.

Each module has a `run()` that returns its rows. Figures are medians, measured in one process
with one thread, Genie and what it is compared with in turn.
"""
