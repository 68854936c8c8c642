"""``nascli doctor``."""

import platform
from importlib.metadata import PackageNotFoundError, version

import click

__all__ = ["command"]

_REQUIRED = (
    "torch", "torchvision", "kornia", "botorch", "networkx", "scikit-learn", "click", "rich",
    "nas-spaces", "nas-hypergrad", "nas-augment", "nas-search", "nas-cli",
)  # fmt: skip
_OPTIONAL = {
    "matplotlib": ("pictures as PNG (`nascli show --out FILE.png`)", 'pip install "nas-cli[draw]"'),
    "onnx": ("networks for other programs (`nascli export`)", 'pip install "nas-cli[onnx]"'),
    "onnxscript": ("the same", 'pip install "nas-cli[onnx]"'),
    "onnxruntime": ("the same", 'pip install "nas-cli[onnx]"'),
    "ray": ("sweeps on a cluster (`nascli sweep --engine ray`)", 'pip install "nas-cli[ray]"'),
    "nats-bench": ("the official NATS-Bench files (`--table`)", 'pip install "nas-cli[tables]"'),
}


@click.command("doctor")
def command() -> None:
    """Show versions and devices, and what is missing for what.

    The exit status is 1 if something is missing that nothing works without.
    """
    click.echo(f"python {platform.python_version()} on {platform.platform()}")
    missing = [package for package in _REQUIRED if _version(package) is None]
    for package in _REQUIRED:
        click.echo(f"{package:<14} {_version(package) or 'MISSING: pip install ' + package}")
    for package, (purpose, remedy) in _OPTIONAL.items():
        click.echo(f"{package:<14} {_version(package) or f'not installed; needed for {purpose}: {remedy}'}")
    if "torch" not in missing:
        import torch

        click.echo(f"threads        {torch.get_num_threads()}")
        if torch.cuda.is_available():
            for index in range(torch.cuda.device_count()):
                properties = torch.cuda.get_device_properties(index)
                click.echo(f"cuda:{index}         {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
        else:
            click.echo("cuda           no GPU found; everything runs on the CPU")
    if missing:
        raise click.exceptions.Exit(1)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
