"""A real browser for tests: Debian's Chromium without a window, one for the whole run.

    def test_a_page_greets(browser: Browser) -> None:
        browser.open("http://127.0.0.1:8080/")
        assert browser.text("h1") == "Hello"

`scripts/make_browser.sh` installs it. Elements that are not there yet are waited for.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import NoAlertPresentException, StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

WAIT_SECONDS = 30
DESKTOP = (1280, 800)
PHONE = (390, 844)

_ARGUMENTS = (
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",  # a container's /dev/shm is small
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",  # only servers of this machine are looked at
)


class Browser:
    """One tab. What is not offered here, `driver` can do."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    @property
    def url(self) -> str:
        return self.driver.current_url

    def find(self, css: str) -> WebElement:
        """The first visible element, as soon as there is one."""

        def first(driver: Chrome) -> WebElement | None:
            elements = driver.find_elements(By.CSS_SELECTOR, css)
            return next((element for element in elements if element.is_displayed()), None)

        wait = WebDriverWait(self.driver, WAIT_SECONDS, 0.1, [StaleElementReferenceException])
        return wait.until(first, f"no visible {css} at {self.url}")

    def text(self, css: str = "body") -> str:
        return self.find(css).text

    def texts(self, css: str) -> list[str]:
        """What each visible element says, as soon as there is one."""
        self.find(css)
        return [one.text for one in self.driver.find_elements(By.CSS_SELECTOR, css) if one.is_displayed()]

    def wait_for_text(self, text: str, css: str = "body") -> None:
        """Until the first element with this selector holds the text."""
        WebDriverWait(self.driver, WAIT_SECONDS, 0.1, [StaleElementReferenceException]).until(
            lambda _: text in self.text(css), f"{text!r} is not shown in {css} at {self.url}"
        )

    def wait_until(self, holds: Callable[[], bool]) -> None:
        WebDriverWait(self.driver, WAIT_SECONDS, 0.1, [StaleElementReferenceException]).until(lambda _: holds())

    def click(self, css: str) -> None:
        self.find(css).click()

    def run(self, script: str, *arguments: Any) -> Any:
        """JavaScript, with `return` where a value is wanted."""
        return self.driver.execute_script(script, *arguments)

    @contextmanager
    def frame(self, css: str = "iframe") -> Iterator[None]:
        """Within the block, the page that an element shows is the one that is looked at."""
        self.driver.switch_to.frame(self.find(css))
        try:
            yield
        finally:
            self.driver.switch_to.default_content()

    def resize(self, size: Sequence[int] = DESKTOP) -> None:
        """Width and height of the page, in CSS pixels."""
        width, height = size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def prefer(self, scheme: str) -> None:
        """What the system asks for: ``"dark"`` or ``"light"``."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def forget(self) -> None:
        """Log out everywhere."""
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})

    def is_wider_than_its_window(self) -> bool:
        """Whether a user would have to scroll sideways."""
        return bool(self.run("return document.documentElement.scrollWidth > window.innerWidth"))

    def has_alert(self) -> bool:
        """Whether a script of the page has opened a dialog."""
        try:
            self.driver.switch_to.alert.dismiss()
        except NoAlertPresentException:
            return False
        return True

    def screenshot(self, path: Path, size: Sequence[int] | None = None) -> Path:
        """Save what is seen as a PNG; at another size if one is given."""
        if size is not None:
            self.resize(size)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.driver.get_screenshot_as_png())
        return path


def _program(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    raise FileNotFoundError(f"{names[0]} is not in PATH: run scripts/make_browser.sh")


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """A browser that keeps what it writes in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ChromeOptions()
    options.binary_location = _program("chromium", "chromium-browser", "google-chrome")
    for argument in (*_ARGUMENTS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's refuses to start as root
    options.unhandled_prompt_behavior = "ignore"  # `has_alert` is to see them
    driver = Chrome(options, ChromeService(_program("chromedriver"), log_output=str(folder / "driver.log")))
    try:
        browser = Browser(driver)
        browser.resize()
        yield browser
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def _session_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def browser(_session_browser: Browser) -> Iterator[Browser]:
    """The browser of all tests: each begins without a login, light, with a window of a desktop's size."""
    _session_browser.open("about:blank")
    _session_browser.forget()
    _session_browser.prefer("light")
    _session_browser.resize()
    yield _session_browser
    _session_browser.has_alert()
