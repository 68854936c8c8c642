"""``nascli doctor``."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from nas_cli.options import json_option
from nas_cli.output import print_json

__all__ = ["command"]

_REQUIRED = (
    "torch", "torchvision", "kornia", "botorch", "networkx", "scikit-learn", "matplotlib", "click", "rich",
    "nas-spaces", "nas-hypergrad", "nas-augment", "nas-search", "nas-cli",
)  # fmt: skip
_OPTIONAL = {
    "onnx": ("networks for other programs (`nascli export`)", 'pip install "nas-cli[onnx]"'),
    "onnxscript": ("the same", 'pip install "nas-cli[onnx]"'),
    "onnxruntime": ("the same", 'pip install "nas-cli[onnx]"'),
    "ray": ("sweeps on a cluster (`nascli sweep --engine ray`)", 'pip install "nas-cli[ray]"'),
    "tensorboard": (
        "the figures of a search, live (`nascli search --tensorboard`)",
        'pip install "nas-cli[tensorboard]"',
    ),
    "nats-bench": ("the official NATS-Bench files (`--table`)", 'pip install "nas-cli[tables]"'),
}


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Show versions and devices, and what is missing for what.

    The exit status is 1 if something is missing that nothing works without.

    \b
    Examples:
      nascli doctor
      nascli doctor --json
    """
    record = _record()
    if as_json:
        print_json(record)
    else:
        _print(record)
    if None in (record["packages"][name] for name in _REQUIRED):
        raise click.exceptions.Exit(1)


def _record() -> dict[str, Any]:
    record: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {package: _version(package) for package in (*_REQUIRED, *_OPTIONAL)},
    }
    if record["packages"]["torch"] is None:
        return record
    import torch

    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    named = [{"name": gpu.name, "memory_gib": round(gpu.total_memory / 2**30, 1)} for gpu in gpus]
    return {**record, "threads": torch.get_num_threads(), "cuda": named}


def _print(record: dict[str, Any]) -> None:
    click.echo(f"python {record['python']} on {record['platform']}")
    for package in _REQUIRED:
        click.echo(f"{package:<14} {record['packages'][package] or 'MISSING: pip install ' + package}")
    for package, (purpose, remedy) in _OPTIONAL.items():
        known = record["packages"][package]
        click.echo(f"{package:<14} {known or f'not installed; needed for {purpose}: {remedy}'}")
    if "threads" in record:
        click.echo(f"threads        {record['threads']}")
        for index, gpu in enumerate(record["cuda"]):
            click.echo(f"cuda:{index}         {gpu['name']}, {gpu['memory_gib']:.0f} GiB")
        if not record["cuda"]:
            click.echo("cuda           no GPU found; everything runs on the CPU")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
