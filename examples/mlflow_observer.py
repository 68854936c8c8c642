"""Every figure of a search in MLflow, live: an observer of thirty lines.

    pip install mlflow                              # or mlflow-skinny with sqlalchemy and alembic, without the page to look at
    python examples/mlflow_observer.py && mlflow ui --backend-store-uri sqlite:///mlflow.db

Without a database, `mlflow.set_tracking_uri` takes the address of a server in place of the file.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import mlflow

from nas_search import methods, search
from nas_search.data_sources import digits
from nas_search.roles import Event
from nas_spaces import nas_bench_201


def numbers(record: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    """Every number of a record, with the names of the records inside it before it."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}/{name}")
        elif isinstance(value, int | float):
            yield f"{prefix}/{name}", float(value)


def observer(event: Event) -> None:
    """Hand over the means of an epoch."""
    if event.kind == "epoch":
        mlflow.log_metrics(dict(numbers(event.record, event.run)), step=event.epoch)


if __name__ == "__main__":
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    with mlflow.start_run(run_name="gdas"):
        result = search(
            nas_bench_201(),
            digits(),
            methods.gdas(),
            epochs=3,
            batch_size=64,
            channels=4,
            cells=1,
            observers=(observer,),
        )
        mlflow.log_param("architecture", str(result.architecture))
        print(mlflow.active_run().info.run_id)
