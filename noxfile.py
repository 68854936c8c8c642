"""What developers and CI run: `nox -l` lists the sessions."""

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "typecheck", "tests", "isolated", "build"]

# The tests start a hundred processes, and without bytecode each compiles torch anew: 5 s of import instead of 2. What a session
# writes lies in its own environment and beside the sources, where git ignores it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).parent
# In the order of their dependencies: leaves first.
PACKAGES = ("nas-hypergrad", "nas-spaces", "nas-augment", "nas-search", "nas-cli")
BUILT: list[str] = []
CONSTRAINTS = ("-c", str(ROOT / "constraints.txt"))
ONNX = ("onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20")
REPORTS = ("tensorboard>=2.18", "selenium>=4.20")
BENCH = ("pytest-benchmark>=5", "torchopt>=0.7.3", "kornia>=0.8", "pillow>=11")
PYTEST = ("pytest>=9", "hypothesis>=6.140")
# What is run of a package alone every day, as all of it has run beside the others: what imports all of it, does its main work and
# asks for what is an extra. nas-hypergrad, which needs torch and nothing else, runs all; so does every one with NAS_NIGHTLY=1.
ISOLATED = {
    "nas-spaces": (
        "test_public.py",
        "test_catalog.py",
        "test_conformance.py",
        "test_counting.py",
        "test_drawing.py",
        "test_single.py",
        "test_tables.py",
        "test_testing.py",
    ),
    "nas-augment": (
        "test_public.py",
        "test_catalog.py",
        "test_export.py",
        "test_gallery.py",
        "test_kornia_transform.py",
        "test_learnable.py",
        "test_policy.py",
        "test_schema.py",
        "test_testing.py",
    ),
    "nas-search": (
        "test_public.py",
        "test_catalog.py",
        "test_data_sources.py",
        "test_export.py",
        "test_image_folder.py",
        "test_reports.py",
        "test_runs.py",
        "test_surrogate.py",
        "test_tensorboard.py",
    ),
    "nas-cli": ("test_commands.py", "test_init.py", "test_options.py", "test_source.py"),
}


def install_all(session: nox.Session, *more: str) -> None:
    """All five packages as they stand in the tree, at once, so that none is looked for on an index."""
    editable = [argument for package in PACKAGES for argument in ("-e", str(ROOT / "packages" / package))]
    session.install(*CONSTRAINTS, *editable, *more)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the arrows of the design: which package may import which."""
    install_all(session, "ruff", "import-linter")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Strict types of the packages, the tests and this file."""
    install_all(session, "mypy", "types-networkx", "nox", *PYTEST)
    session.run("mypy", *(f"packages/{package}/src" for package in PACKAGES))
    session.run("mypy", "tests", "noxfile.py")


def install_for_tests(session: nox.Session, *more: str) -> None:
    """All that some test of the five packages uses."""
    install_all(
        session,
        "pytest-xdist>=3.6",
        "google-crc32c>=1.5",
        "nats-bench>=1.8",
        *ONNX,
        "ray>=2.40",
        *REPORTS,
        *PYTEST,
        *more,
    )


def run_tests(session: nox.Session, *options: str) -> None:
    """By two workers, not one a core: the tests start processes of their own and need a gigabyte each."""
    # One thread each, unless said otherwise: two that compute on the same two cores take three times as long.
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    session.run("pytest", "-n", "2", "--dist", "worksteal", *options, *session.posargs, env=threads)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests over the packages in the tree; arguments go to pytest."""
    install_for_tests(session)
    run_tests(session, "--durations=60", "--durations-min=2")


@nox.session
def coverage(session: nox.Session) -> None:
    """The same with branch coverage, which takes a good deal longer; arguments go to pytest."""
    install_for_tests(session, "pytest-cov")
    run_tests(session, "--cov", "--cov-report=term:skip-covered")


@nox.session
def nightly(session: nox.Session) -> None:
    """The tests that take minutes, such as 200 random compositions of a search; arguments go to pytest."""
    install_for_tests(session, "lightning>=2.6", "timm>=1.0")
    session.run("pytest", "-m", "nightly", *session.posargs, env={"NAS_NIGHTLY": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """Short benchmarks beside peers, and growth with exponents, into benchmarks/RESULTS.md; arguments go to pytest."""
    install_all(session, *BENCH, *PYTEST)
    raw = str(Path(session.create_tmp()) / "short.json")
    runs = (f"--benchmark-json={raw}", "--benchmark-timer=time.process_time")
    session.run("pytest", "-o", "pythonpath=benchmarks", "benchmarks/short.py", *runs, *session.posargs)
    session.run("python", "benchmarks/growth.py", "--json", "benchmarks/growth.json", "--rounds", "3")
    session.run("python", "benchmarks/short_report.py", raw)


@nox.session
@nox.parametrize("package", PACKAGES, ids=PACKAGES)
def isolated(session: nox.Session, package: str) -> None:
    """The tests of one package against its wheel, in an environment that has only what the wheel declares."""
    wheels = session.cache_dir / "wheels"
    if not BUILT:  # one run of nox builds them once, whatever the number of packages that it tests
        shutil.rmtree(wheels, ignore_errors=True)
        for each in PACKAGES:
            build_wheel(session, ROOT / "packages" / each, wheels)
            BUILT.append(each)
    # uv remembers wheels of the same name and version: without this it would install those of an earlier build.
    fresh = [f"--refresh-package={each}" for each in PACKAGES] if session.venv_backend == "uv" else []
    wheel = str(next(wheels.glob(f"{module(package)}-*.whl")))
    session.install(*CONSTRAINTS, *fresh, "--find-links", str(wheels), wheel, *PYTEST)
    folder = f"tests/{package.removeprefix('nas-')}"
    files = [folder] if os.environ.get("NAS_NIGHTLY") else [f"{folder}/{name}" for name in ISOLATED.get(package, ("",))]
    session.run("pytest", "-m", "not slow", *files, *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Wheel and source archive of every package, into dist/; the wheels are installed together and say who they are."""
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    by_uv = session.venv_backend == "uv"
    if not by_uv:
        session.install(*CONSTRAINTS, "build")
    command = ("uv", "build", "--quiet", "--out-dir") if by_uv else ("python", "-m", "build", "--outdir")
    for package in PACKAGES:
        session.run(*command, str(dist), str(ROOT / "packages" / package), silent=True)
    session.install(*CONSTRAINTS, *(str(wheel) for wheel in sorted(dist.glob("*.whl"))))
    with session.chdir(session.create_tmp()):
        session.run("nascli", "--version")
        session.run("nascli", "list", "methods")


@nox.session
def search(session: nox.Session) -> None:
    """The main job: search and train a network on real data; arguments go to `nascli search`."""
    install_all(session)
    session.run("nascli", "search", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as HTML, into docs/_build/; a warning is an error."""
    install_all(session, "sphinx>=8", "myst-parser>=4", "furo>=2024.8")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build", *session.posargs)


def build_wheel(session: nox.Session, source: Path, folder: Path) -> None:
    """Build a wheel without installing anything into the session's environment."""
    if session.venv_backend == "uv":
        session.run("uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), str(source))
    else:
        session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source))


def module(package: str) -> str:
    """The import name of a distribution."""
    return package.replace("-", "_")
