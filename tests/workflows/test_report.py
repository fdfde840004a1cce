"""The report as a page: complete, escaped, loading nothing; in a browser it draws, turns and does not complain."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from typer.testing import CliRunner

from ase_comformer.cli.application import application as app
from ase_comformer.inference.predictor import Predictor
from ase_comformer.workflows.report import report
from ase_comformer.workflows.report_page.content import gather
from ase_comformer.workflows.report_page.html_page import page
from ase_comformer.workflows.report_page.scenes import crystal_scene, surface_scene
from ase_comformer.workflows.report_page.tables import text

EVIL = "<script>alert(1)</script>"


class Elements(HTMLParser):
    """Counts elements and remembers attributes; a page that is well-formed closes what it opens."""

    VOID = frozenset({"meta", "br", "img", "input", "hr", "link", "path", "use"})

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.attributes += attributes
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def predictor():
    return Predictor(dtype="float64")


@pytest.fixture(scope="module")
def aluminium_nitride(predictor):
    content = gather(bulk("AlN", "wurtzite", a=3.11, c=4.98), predictor, name=f'{EVIL}" onload="x', with_phonons=False)
    return content, page(content)


def test_page_is_well_formed_and_complete(aluminium_nitride, predictor):
    _, html = aluminium_nitride
    elements = Elements()
    elements.feed(html)
    assert elements.open == []
    for name in ("structure", "tensors", "mechanics", "response", "phonons", "spectra", "trust"):
        assert ("id", name) in elements.attributes
    assert elements.seen.count("canvas") == 4
    for part in ("P6_3mc", "elastic tensor", "Debye temperature", "forbidden by m"):
        assert part in html
    assert ("expected error" in html) == ("elastic_tensor_uncertainty" in predictor.properties)


def test_page_loads_nothing_from_elsewhere(aluminium_nitride):
    _, html = aluminium_nitride
    elements = Elements()
    elements.feed(html)
    fetched = [value for key, value in elements.attributes if key in ("src", "href", "data", "action")]
    assert all(value.startswith("#") for value in fetched)
    assert "default-src &#x27;none&#x27;" in html
    assert not re.search(r"@import|url\(", html)


def test_text_of_files_is_escaped_everywhere(aluminium_nitride):
    content, html = aluminium_nitride
    assert EVIL not in html
    assert text(EVIL) in html
    assert html.count("<script") == 2
    content.notes.append(EVIL)
    content.missing["phonons"] = EVIL
    content.model["name"] = EVIL
    assert EVIL not in page(content)


def test_numbers_of_the_page_are_those_of_the_predictor(aluminium_nitride, predictor):
    content, html = aluminium_nitride
    tensor = predictor.evaluate(content.atoms, ["dielectric_tensor"])["dielectric_tensor"]
    assert f"{tensor[2, 2]:.3f}" in html
    scenes = json.loads(re.search(r'id="scenes">(.*?)</script>', html, re.S).group(1))
    assert set(scenes) == {"crystal", "dielectric", "piezo", "young"}
    pole = scenes["dielectric"]["values"][0][0]
    assert pole == pytest.approx(tensor[2, 2], abs=1e-3)


def test_what_cannot_be_computed_is_left_out_with_a_sentence(predictor):
    html = page(gather(bulk("Cu"), predictor, with_phonons=False))
    assert "left out: not asked for" in html
    assert "metal" in html


def test_scenes_close_and_repeat_atoms_on_the_border():
    scene = surface_scene(lambda n: n[..., 2])
    assert scene["signed"]
    np.testing.assert_allclose(np.array(scene["values"])[:, 0], np.array(scene["values"])[:, -1])
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    assert len(crystal_scene(atoms)["atoms"]) == 8 + 1  # the corners of the cell, and the middle
    assert len(crystal_scene(atoms)["edges"]) == 12


def test_command_names_pages_after_files_and_escapes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "evil<img src=x onerror=alert(1)>.cif"
    ase.io.write(tmp_path / "good.cif", bulk("MgO", "rocksalt", a=4.21))
    content = (tmp_path / "good.cif").read_text()
    (tmp_path / name).write_text(f"# {EVIL}\n" + content.replace("data_image0", f"data_{EVIL}"))
    done = CliRunner().invoke(app, ["report", name, "good.cif", "good.cif@0", "--no-phonons", "-o", "pages"])
    assert done.exit_code == 0, done.output
    written = [Path(line) for line in done.stdout.split()]
    assert len(set(written)) == 3
    for path in written:
        html = path.read_text(encoding="utf-8")
        assert EVIL not in html
        assert "<img" not in html


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
def test_in_a_browser_it_draws_turns_and_does_not_complain(tmp_path, width):
    sync_api = pytest.importorskip("playwright.sync_api")
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser_path is None:
        pytest.skip("no Chromium (apt-get install chromium)")
    path = report(bulk("AlN", "wurtzite", a=3.11, c=4.98), tmp_path / "report.html", name=EVIL)
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=options)
        tab = browser.new_page(viewport={"width": width, "height": 844})
        complaints, requests = [], []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri())
        assert tab.locator("canvas").count() == 4
        for number in range(4):
            canvas = tab.locator("canvas").nth(number)
            canvas.scroll_into_view_if_needed()
            box = canvas.bounding_box()
            tab.mouse.move(box["x"] + 60, box["y"] + 60)
            tab.mouse.down()  # it stands still from now on
            before = canvas.screenshot()
            angle = canvas.get_attribute("data-angle")
            assert canvas.screenshot() == before
            tab.mouse.move(box["x"] + 140, box["y"] + 90)
            tab.mouse.up()
            assert canvas.get_attribute("data-angle") != angle
            assert canvas.screenshot() != before
            turned = canvas.get_attribute("data-angle")
            canvas.press("ArrowLeft")
            assert canvas.get_attribute("data-angle") != turned
        canvas.dblclick()  # lets it turn by itself
        turned = canvas.get_attribute("data-angle")
        tab.wait_for_timeout(500)
        assert canvas.get_attribute("data-angle") != turned
        assert tab.locator("svg").count() >= 2
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert complaints == []
    assert requests == [path.as_uri()]
