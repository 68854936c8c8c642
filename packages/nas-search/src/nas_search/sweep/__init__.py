"""Many runs: methods x seeds x settings, on this machine or on a Ray cluster, each in a process and a folder of its own."""

from nas_search.sweep.plan import Plan, Trial, plan
from nas_search.sweep.run import run_sweep
from nas_search.sweep.summary import Row, summarize

__all__ = ["Plan", "Row", "Trial", "plan", "run_sweep", "summarize"]
