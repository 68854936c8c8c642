"""What runs calls in other processes: those of this machine, or of a Ray cluster."""

from nas_search.engines.engine import Engine, Outcome, Run, Task
from nas_search.engines.local import LocalEngine
from nas_search.engines.on_ray import RayEngine

__all__ = ["Engine", "LocalEngine", "Outcome", "RayEngine", "Run", "Task"]
