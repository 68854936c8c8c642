"""The page as a browser shows it: Debian's chromium and chromium-driver, driven by selenium."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas_augment.published import autoaugment_cifar10
from nas_search import SearchResult
from nas_search.reports import write_report
from nas_spaces import darts, nas_bench_201

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser: pip install selenium")
pytest.importorskip("matplotlib", reason="draws the charts: pip install 'nas-search[report]'")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver: apt-get install chromium-driver"
    ),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of the pipes to the browser
]
NAME = "<img src=x onerror=document.title='run'>"
METHOD = "<script>document.title='run'</script>"


def save(folder: Path, architecture: Any, method: str) -> Path:
    history = tuple(
        {
            "epoch": epoch,
            "train_loss": 2.0 / epoch,
            "valid_loss": 2.2 / epoch,
            "entropy": 1.0 / epoch,
            "hyperparameters": {"learning_rate": 0.1 / epoch, "weight_decay": 1e-4 * epoch},
            "operation_weights": {"edges": {"skip": 0.1 * epoch, METHOD: 1 - 0.1 * epoch}},
            "temperature": 10.0 / epoch,
            "hessian_eigenvalue": 0.1 * epoch,
            "seconds": 1.0,
        }
        for epoch in (1, 2, 3)
    )
    SearchResult(
        architecture, autoaugment_cifar10().decide(), history=history, method=method, metrics={"test_accuracy": 0.9}
    ).save(folder)
    (folder / "checkpoints").mkdir(exist_ok=True)
    np.savez_compressed(folder / "checkpoints" / "examples.npz", images=np.full((2, 3, 8, 8), 90, dtype=np.uint8))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("runs")
    generator = torch.Generator().manual_seed(0)
    runs = [
        save(folder / NAME.replace("/", ""), nas_bench_201().sample(generator), METHOD),
        save(folder / "second", darts().sample(generator), "darts"),
    ]
    browser.get(write_report(runs, folder / "report.html").as_uri())
    return browser


def look(browser: Any, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def test_nothing_is_wrong_and_names_are_inert(page: Any) -> None:
    assert page.title == "2 runs compared"
    assert page.get_log("browser") == []
    assert page.execute_script("return document.scripts.length") == 0
    assert NAME in page.execute_script("return document.body.innerText")


def test_every_chart_is_drawn_and_has_a_name(page: Any) -> None:
    look(page, 1100, "light")
    charts = page.execute_script(
        "return [...document.querySelectorAll('svg[role=img]')].map(e => [e.getBoundingClientRect().width, "
        "e.getAttribute('aria-label') || e.querySelector('title').textContent])"
    )
    assert len(charts) >= 10
    assert all(width > 200 and name for width, name in charts)
    names = " ".join(name for _, name in charts)
    for shown in (
        "Loss",
        "Entropy",
        "Temperature",
        "Largest Hessian eigenvalue",
        "Weight decay",
        "Mean weight of each operation",
    ):
        assert shown in names
    pictures = page.execute_script("return [...document.images].map(e => [e.naturalWidth, e.alt])")
    assert len(pictures) == 2 * 2 * 4
    assert all(width == 8 and alt for width, alt in pictures)


def test_a_phone_does_not_scroll_sideways(page: Any) -> None:
    look(page, 375, "light")
    assert page.execute_script("return document.documentElement.scrollWidth") <= 375


@pytest.mark.parametrize("width", [375, 1100])
def test_dark_mode_is_dark_with_light_text_and_lines(page: Any, width: int) -> None:
    def brightness(selector: str, what: str) -> float:
        script = f"return getComputedStyle(document.querySelector({json.dumps(selector)}))[{json.dumps(what)}]"
        numbers = page.execute_script(script).strip("rgba()").split(",")
        return sum(map(float, numbers[:3])) / 3

    for scheme, dark in (("dark", True), ("light", False)):
        look(page, width, scheme)
        for selector, what, ground in (
            ("body", "backgroundColor", True),
            ("figure", "backgroundColor", True),
            ("figure.cell > svg > rect", "fill", True),
            ("body", "color", False),
            ("section.charts svg title + path", "stroke", False),
            ("figure:not(.cell) text", "fill", False),
        ):
            assert (brightness(selector, what) < 125) is (ground is dark), (scheme, selector, what)
