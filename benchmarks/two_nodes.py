"""Two machines on one: a sweep on a Ray cluster that loses a node, and torchrun over two nodes: ``python two_nodes.py``.

The machines are network namespaces that a virtual cable joins (Linux, iproute2, root), with addresses of their own and no other way
to each other than this cable and the file system. Both parts make their namespaces, and remove them with all that runs in them.

``ray``: a node dies, with the trial that it runs, after others have finished. Those have to be kept as they are, the one that
was lost goes on from its checkpoint on the other node, and ends as it does where nothing is killed. ``torchrun``: the runs of
``tests/search/distributed_runs.py`` by one rank on each node against one process, and a ``nascli search`` that both share.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NODES = ("nas-a", "nas-b")
CABLE = {"nas-a": "nas-a0", "nas-b": "nas-b0"}
ADDRESS = {"nas-a": "10.77.0.1", "nas-b": "10.77.0.2"}
RAY, TORCHRUN = "6399", "29517"
AGENTS = ("dashboard-agent-grpc", "dashboard-agent-listen", "runtime-env-agent", "metrics-export")
PATIENCE = 1500.0
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else a head that finds a token in the home folder asks for it, and the other node does not offer it.
    "RAY_AUTH_MODE": "disabled",
    # On a busy machine Ray's own processes take minutes to start.
    "RAY_raylet_start_wait_time_s": "600",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_register_timeout_seconds": "600",
}
SMALL = [
    "--data", "fake:1x8x8", "--batch-size", "32", "--channels", "4", "--cells", "1", "--train-epochs", "0", "--device", "cpu",
]  # fmt: skip


def why_not() -> str:
    """Why this machine cannot do it; empty if it can."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        return "needs Linux and iproute2"
    if os.geteuid():
        return "needs root, to make network namespaces"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return f"network namespaces are not allowed here ({tried.stderr.strip()})" if tried.returncode else ""


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout


@contextmanager
def two_nodes() -> Iterator[None]:
    made = list[str]()
    try:
        for node in NODES:
            ip("netns", "add", node)
            made.append(node)
        ip("link", "add", CABLE["nas-a"], "type", "veth", "peer", "name", CABLE["nas-b"])
        for node in NODES:
            ip("link", "set", CABLE[node], "netns", node)
            ip("-n", node, "address", "add", f"{ADDRESS[node]}/24", "dev", CABLE[node])
            for device in ("lo", CABLE[node]):
                ip("-n", node, "link", "set", device, "up")
            ip("-n", node, "route", "add", "default", "dev", CABLE[node])  # by which a program finds its own address
        yield
    finally:
        for node in made:
            end(node)
            ip("netns", "delete", node)


def running(node: str) -> dict[int, str]:
    """The processes of a node, with their command lines."""
    found = {}
    for process in ip("netns", "pids", node).split():
        try:
            found[int(process)] = Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ").strip()
        except OSError:  # it has just ended
            continue
    return found


def end(node: str) -> None:
    """Pull the plug."""
    while processes := running(node):
        for process in processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)


def start(node: str, *command: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["ip", "netns", "exec", node, *command], env={**os.environ, **ENVIRONMENT, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def done(process: "subprocess.Popen[str]") -> str:
    """What a command prints that has to succeed."""
    printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, printed[-3000:]
    return printed


def wait_for(condition: Callable[[], Any], process: "subprocess.Popen[str]") -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def found_in(folder: Path) -> Any:
    record = json.loads((folder / "result.json").read_text())
    lines = (folder / "events.jsonl").read_text().splitlines()
    return record["architecture"], strip(record["metrics"]), [strip(json.loads(line)) for line in lines]


def strip(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if "second" not in key}


def sweep_that_loses_a_node(folder: Path, epochs: int) -> str:
    """Four trials on two nodes of one core; the second node dies after one has finished."""
    out, python = folder / "sweep", Path(sys.executable)
    ray, where = str(python.with_name("ray")), f"{ADDRESS['nas-a']}:{RAY}"
    # With ports that it is told Ray does not wait for its agents, which it gives a few seconds to name theirs.
    agents = [f"--{name}-port={port}" for port, name in enumerate(AGENTS, start=int(RAY) + 10)]
    room = ["--num-cpus", "1", "--object-store-memory", "100000000", "--disable-usage-stats", *agents]
    head = ["--head", "--port", RAY, "--include-dashboard=false", "--temp-dir", str(folder / "ray")]
    done(start("nas-a", ray, "start", "--node-ip-address", ADDRESS["nas-a"], *head, *room))
    done(start("nas-b", ray, "start", "--node-ip-address", ADDRESS["nas-b"], "--address", where, *room))
    command = [
        "-m",
        "nas_cli",
        "sweep",
        "--engine",
        "ray",
        "--address",
        where,
        "--workers",
        "2",
        "--methods",
        "random_nas",
    ]
    sweep = start("nas-a", str(python), *command, "--seeds", "4", "--epochs", str(epochs), "--out", str(out), *SMALL)

    def lost() -> Path | None:
        """The folder of a trial of which the second node has not done half, when another one has finished."""
        names = [
            words.removeprefix("ray::") for words in running("nas-b").values() if words.startswith("ray::random_nas")
        ]
        begun = [out / name for name in names if (out / name / "checkpoints" / "last.pt").exists()]
        saved = [each for each in begun if len((each / "events.jsonl").read_text().splitlines()) <= epochs // 2]
        return saved[0] if saved and list(out.glob("*/report.html")) else None

    trial: Path = wait_for(lost, sweep)
    end("nas-b")
    # The report comes last: without it a result may still get figures.
    before = {path: path.read_bytes() for path in out.glob("*/result.json") if (path.parent / "report.html").exists()}
    epoch = len((trial / "events.jsonl").read_text().splitlines())
    finished = trial / "result.json" in before
    done(sweep)
    assert all(path.read_bytes() == content for path, content in before.items()), "what had finished was run again"
    with (out / "results.csv").open() as table:
        status = [row["status"] for row in csv.DictReader(table)]
    assert status == ["done"] * 4, status
    assert not finished
    alone = folder / "alone"
    once = ["-m", "nas_cli", "search", "--config", str(trial / "config.toml"), "--out", str(alone)]
    done(start("nas-a", str(python), *once))
    assert found_in(trial) == found_in(alone), "the trial that was lost has another end"
    return (
        f"{len(before)} of 4 trials had finished when the node died in epoch {epoch} of {epochs} of another; they were kept byte "
        "by byte, and the lost one went on and ended as one that nobody killed"
    )


def torchrun(folder: Path) -> str:
    """One rank on each node, against one process."""
    script = str(ROOT / "tests" / "search" / "distributed_runs.py")

    def ranks(*command: str) -> None:
        both = [
            start(
                node, sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(place), "--nproc-per-node",
                "1", "--master-addr", ADDRESS["nas-a"], "--master-port", TORCHRUN, *command, GLOO_SOCKET_IFNAME=CABLE[node],
            )
            for place, node in enumerate(NODES)
        ]  # fmt: skip
        for process in both:
            done(process)

    one, two = folder / "one", folder / "two"
    one.mkdir()
    two.mkdir()
    done(start("nas-a", sys.executable, script, str(one)))
    ranks(script, str(two))
    import torch

    sys.path.insert(0, str(ROOT / "tests" / "search"))
    from test_distributed import largest_difference

    names = sorted(path.name for path in one.iterdir())
    differences = [
        largest_difference(*(torch.load(each / name, weights_only=True) for each in (one, two))) for name in names
    ]
    assert names
    assert max(differences) < 1e-5, dict(zip(names, differences, strict=True))
    out = folder / "search"
    ranks("-m", "nas_cli", "search", "--method", "gdas", "--epochs", "2", "--out", str(out), *SMALL)
    assert [json.loads(line)["epoch"] for line in (out / "events.jsonl").read_text().splitlines()] == [1, 2]
    return (
        f"{len(names)} runs (searches and a training) of two ranks on two nodes differ from one process by {max(differences):.1e} "
        "at most; a search of both nodes ended with one result"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["ray", "torchrun"], help="ray, torchrun (both)")
    parser.add_argument("--epochs", type=int, default=25, help="of a trial")
    arguments = parser.parse_args()
    if reason := why_not():
        sys.exit(f"two_nodes.py {reason}.")
    for part in arguments.parts:
        # A short path: those of sockets have 107 characters at most.
        with tempfile.TemporaryDirectory(prefix="nas", ignore_cleanup_errors=True) as folder, two_nodes():
            begun = time.monotonic()
            said = (
                torchrun(Path(folder))
                if part == "torchrun"
                else sweep_that_loses_a_node(Path(folder), arguments.epochs)
            )
            print(f"{part}: {said} ({time.monotonic() - begun:.0f} s).", flush=True)


if __name__ == "__main__":
    main()
