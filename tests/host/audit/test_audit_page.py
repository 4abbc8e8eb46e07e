"""The audit's page in a real browser: it reads, sorts by keyboard, fits a phone, and asks the network for nothing."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from shim_host.audit import judge, page
from shim_host.audit.model import Facts

from tests.support.audit_examples import clean, large, small
from tests.support.forms import cannot_run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

Opened = Callable[..., "Chrome"]
PHONE = 390


@pytest.fixture(scope="session")
def chromium() -> Iterator["Chrome"]:
    """Return a browser without a window; what it would ask of the network is in its performance log."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        cannot_run("the page is tested in chromium, driven by chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = str(program)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(str(driver)))
    yield browser
    browser.quit()


@pytest.fixture
def opened(chromium: "Chrome", tmp_path: Path) -> Opened:
    """Return a function that opens the page of an audit."""

    def open_page(facts: Facts, *, width: int = 1280, scheme: str = "light", scripts: bool = True) -> "Chrome":
        path = tmp_path / "audit.html"
        path.write_text(page.page(judge.judge(facts)), "utf-8")
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        # Without motion, so that what is clicked stays where it is.
        media = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in media.items()]
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        chromium.get_log("browser")  # type: ignore[no-untyped-call]
        chromium.get_log("performance")  # type: ignore[no-untyped-call]
        chromium.get(path.as_uri())
        return chromium

    return open_page


def column(browser: "Chrome", table: str, number: int) -> list[str]:
    """Return what a column of *table* sorts by, from top to bottom."""
    script = (
        "return [...document.querySelector(arguments[0]).tBodies[0].rows].map(r => r.cells[arguments[1]].dataset.value)"
    )
    found: list[str] = browser.execute_script(script, table, number)
    return found


def words_of(text: str) -> str:
    """Return what is read of a part of the page."""
    return re.sub(r"<[^>]+>", "", text)


def background(browser: "Chrome") -> int:
    """Return how bright the page is, 0 to 255."""
    text: str = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    return int(text.partition("(")[2].partition(",")[0])


@pytest.mark.parametrize("facts", [clean(), small(), large()], ids=["clean", "small", "large"])
def test_nothing_is_asked_of_the_network_and_the_policy_lets_the_page_work(opened: Opened, facts: Facts) -> None:
    browser = opened(facts)
    browser.find_element("id", "theme").click()

    asked = browser.get_log("performance")  # type: ignore[no-untyped-call]
    requests = [line["message"] for line in asked if "Network.requestWillBeSent" in line["message"]]
    urls = [url for line in requests for url in _urls(line)]
    assert urls, "the log has at least the page itself"
    assert all(url.startswith("file:") for url in urls), urls
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
    assert "default-src 'none'" in browser.page_source


def _urls(line: str) -> Iterator[str]:
    import json

    message: Any = json.loads(line)["message"]
    if message["method"] == "Network.requestWillBeSent":
        yield message["params"]["request"]["url"]


def test_tables_sort_by_keyboard_and_say_so(opened: Opened) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = opened(large())
    heading = browser.find_element("css selector", ".secrets thead th:nth-child(3)")
    button = heading.find_element("tag name", "button")
    assert heading.get_attribute("aria-sort") == "none"

    # Reached by the keyboard alone: from the heading before it.
    browser.execute_script(
        "arguments[0].focus()", browser.find_element("css selector", ".secrets th:nth-child(2) button")
    )
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element == button
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    ages = [float(text) for text in column(browser, ".secrets", 2)]
    assert heading.get_attribute("aria-sort") == "descending"
    assert ages == sorted(ages, reverse=True)
    assert len(ages) == 60

    ActionChains(browser).send_keys(Keys.SPACE).perform()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column(browser, ".secrets", 2)] == sorted(ages)
    assert "sorted by Age" in str(browser.find_element("id", "status").get_property("textContent"))


def test_the_matrix_sorts_by_name_and_by_service(opened: Opened) -> None:
    browser = opened(small())
    names = column(browser, ".matrix", 0)

    browser.find_element("css selector", ".matrix thead th:first-child button").click()
    assert column(browser, ".matrix", 0) == sorted(names)

    browser.find_element("css selector", ".matrix thead th:nth-child(3) button").click()
    urgency = [int(text) for text in column(browser, ".matrix", 2)]
    assert urgency == sorted(urgency, reverse=True)
    assert urgency[0] > 0


@pytest.mark.parametrize("facts", [clean(), small(), large()], ids=["clean", "small", "large"])
@pytest.mark.parametrize("width", [320, PHONE, 768, 1280])
def test_no_width_makes_the_page_scroll_sideways(opened: Opened, facts: Facts, width: int) -> None:
    browser = opened(facts, width=width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")

    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_what_scrolls_can_be_reached_by_the_keyboard(opened: Opened) -> None:
    browser = opened(large(), width=PHONE)
    region = browser.find_element("css selector", "[role=region]")

    assert region.get_attribute("tabindex") == "0"
    assert browser.execute_script("return arguments[0].scrollWidth > arguments[0].clientWidth", region)


def test_dark_follows_the_system_and_the_button(opened: Opened) -> None:
    browser = opened(small(), scheme="light")
    assert background(browser) > 200

    button = browser.find_element("id", "theme")
    assert button.text == "Dark"
    button.click()
    assert background(browser) < 60
    assert button.text == "Light"

    browser = opened(small(), scheme="dark")
    assert background(browser) < 60
    browser.find_element("id", "theme").click()
    assert background(browser) > 200


CONTRAST = """
const luminance = (text) => {
  const c = text.match(/[0-9.]+/g).slice(0, 3).map((n) => { const v = n / 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
  return .2126 * c[0] + .7152 * c[1] + .0722 * c[2];
};
const ground = (node) => { for (; node; node = node.parentElement) { const c = getComputedStyle(node).backgroundColor; if (c !== 'rgba(0, 0, 0, 0)') { return c; } } };
let worst = [99, ''];
for (const node of document.querySelectorAll('h1 span, h2, h3, p, li, td, th, dt, dd, code, .level, .soft, .key, .pill, summary')) {
  const [a, b] = [luminance(getComputedStyle(node).color), luminance(ground(node))].sort((x, y) => y - x);
  const ratio = (a + .05) / (b + .05);
  if (ratio < worst[0]) { worst = [ratio, node.outerHTML.slice(0, 80)]; }
}
return worst;
"""  # noqa: E501  (one line a thought of another language)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(opened: Opened, scheme: str) -> None:
    """WCAG 2.1, 1.4.3: 4.5 to 1."""
    ratio, where = opened(small(), scheme=scheme).execute_script(CONTRAST)

    assert ratio >= 4.5, where


def test_it_reads_without_javascript(opened: Opened, chromium: "Chrome") -> None:
    browser = opened(small(), scripts=False)
    try:
        text = browser.find_element("tag name", "body").text
        visible = [button for button in browser.find_elements("tag name", "button") if button.is_displayed()]
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

    assert "4 errors to fix" in text
    assert "worker: the variable DATABASE_URL holds the value of DB_PASSWORD" in text
    assert visible == []  # no button that does nothing


def test_findings_can_be_filtered_by_level(opened: Opened) -> None:
    browser = opened(small())
    chip = browser.find_element("css selector", ".chips [data-level=error]")
    chip.click()

    shown = [group for group in browser.find_elements("css selector", ".group") if group.is_displayed()]
    assert chip.get_attribute("aria-pressed") == "true"
    assert [group.get_attribute("id") for group in shown] == [
        "secret-in-environment",
        "file-readable-by-others",
        "secret-not-granted",
        "container-stale",
    ]


def test_what_to_do_first_leads_to_the_findings(opened: Opened) -> None:
    browser = opened(small())
    steps = browser.find_elements("css selector", ".first > li")

    assert len(steps) == 5
    assert "chmod 600 secrets/db_password" in steps[1].text
    target = steps[0].find_element("tag name", "a").get_attribute("href")
    assert browser.find_element("id", str(target).rpartition("#")[2]).is_displayed()
    assert opened(clean()).find_elements("css selector", ".first") == []


def test_everything_is_on_the_print(opened: Opened, chromium: "Chrome") -> None:
    opened(large())
    printed = chromium.execute_cdp_cmd("Page.printToPDF", {"landscape": True, "preferCSSPageSize": False})

    import base64

    assert base64.b64decode(printed["data"]).startswith(b"%PDF")


def test_the_page_names_what_was_audited_and_counts_as_the_terminal_does() -> None:
    """Project, folder, host, engine, version; the same numbers; zero is 0; who could read, in words."""
    judged = judge.judge(small())
    text = page.page(judged)

    for words in ("shop", "/srv/shop", "host-1", "unix:///var/run/docker.sock", "manage-secrets "):
        assert f"<dd>{words}" in text
    for row in judged.rows:
        assert f"<summary>{len(row.readers) + len(judged.readers_of_all)} could read it</summary>" in text
    assert "<td class='count' data-value='0'>0</td>" in text


def test_what_to_do_first_names_keys_and_services() -> None:
    text = page.page(judge.judge(small()))
    first = text.partition("<ol class='first'>")[2].partition("</ol>")[0]

    assert "DB_PASSWORD in worker" in words_of(first)


def test_the_steps_add_up_to_the_figures() -> None:
    """A step with errors and warnings counts both: the errors of all steps are those of the headline."""
    audit = judge.judge(large())
    first = words_of(page.page(audit).partition("<ol class='first'>")[2].partition("</ol>")[0])

    assert "(18 errors, 13 warnings)" in first
    assert sum(int(count) for count in re.findall(r"(\d+) errors?\b", first)) == audit.count("error")


def test_findings_that_are_alike_are_told_once() -> None:
    """The same of ten services is one line with ten names."""
    from dataclasses import replace

    facts = small()
    reaching = [
        replace(facts.services[2], name=f"w{n}", mounts=(), traces=(), reach=("is privileged",)) for n in range(3)
    ]
    text = page.page(judge.judge(replace(facts, services=(*facts.services, *reaching))))

    group = text.partition("id='service-reaches-everything'")[2].partition("</article>")[0]
    assert group.count("is privileged") == 1
    assert "Also: w1, w2." in words_of(group)
