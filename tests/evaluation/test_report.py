"""The report page: self-contained, safe with hostile text, complete, and readable from any event log."""

import base64
import dataclasses
import itertools
import json
import math
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
import torch

from unscene.evaluation.curves import AXES, MOST_POINTS, loss_charts, number_text, thin
from unscene.evaluation.report import Comparison, Report, duration_text, read_events, write_report

VOID_ELEMENTS = {"meta", "link", "img", "input", "line", "path"}
HOSTILE = "</script><script>alert('x')</script>\"&{{ 7 * 7 }}"


class Page(HTMLParser):
    """Elements as (tag, attributes) and all text outside scripts and styles; fails on elements closed out of order."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text += data

    def having(self, tag, name=None, value=None):
        return [a for t, a in self.elements if t == tag and (name is None or value in (a.get(name) or "").split())]


EMPTY = Report(
    title="empty", summary={}, comparisons=[], gallery=[], metrics={}, losses={}, timings=[], notes=[], video=None
)


def full_report(text: str = "vase") -> Report:
    image = torch.linspace(0, 1, 20 * 30 * 3).reshape(20, 30, 3)
    return Report(
        title=text,
        summary={text: text},
        comparisons=[Comparison(text, image, (image * 255).to(torch.uint8), text, text) for _ in range(3)],
        gallery=[(text, image), ("depth", image)],
        metrics={text: {"psnr_masked": 21.0, text: text}, "other": {"psnr_masked": 23.5}},
        losses={text: [(0, {text: 1.0}), (5, {text: 0.5})]},
        timings=[(text, 61.0), ("second", 2.0)],
        notes=[text],
        video=b"not really a film",
    )


def written(tmp_path, report: Report) -> str:
    write_report(tmp_path / "report.html", report)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def decoded(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"), validate=True)
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_the_page_shows_every_part(tmp_path):
    page = Page(written(tmp_path, full_report()))
    assert len(page.having("figure", "class", "slider")) == 3
    assert len(page.having("input", "type", "range")) == 3
    assert len(page.having("button", "aria-pressed", "true")) == 1
    assert len(page.having("video")) == len(page.having("svg")) == len(page.having("details")) == 1
    assert "PSNR masked" in page.text and "dB" in page.text and "1 min 01 s" in page.text


def test_sections_without_content_are_left_out(tmp_path):
    page = Page(written(tmp_path, EMPTY))
    for tag in ("section", "video", "svg", "table", "details", "dl", "dialog", "input", "figure"):
        assert page.having(tag) == [], tag


def test_one_comparison_needs_no_thumbnails(tmp_path):
    only = dataclasses.replace(full_report(), comparisons=full_report().comparisons[:1])
    assert Page(written(tmp_path, only)).having("button", "aria-pressed", "true") == []


def test_the_page_requests_nothing(tmp_path):
    text = written(tmp_path, full_report())
    assert re.search(r"https?://|//\w+\.\w|@import|url\(", re.sub(r"base64,[\w+/=]+", "", text)) is None
    page = Page(text)
    sources = [a[name] for _, a in page.elements for name in ("src", "href", "poster", "srcset") if a.get(name)]
    assert len(sources) == 3 * 3 + 2 + 1 + 1  # sliders with thumbnails, gallery, film, icon
    assert all(source.startswith("data:") for source in sources)
    (policy,) = page.having("meta", "http-equiv", "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")


def test_hostile_text_stays_text(tmp_path):
    page = Page(written(tmp_path, full_report(HOSTILE)))
    assert len(page.having("script")) == 1
    assert page.text.count(HOSTILE) >= 10
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_pictures_keep_their_colours(tmp_path, kind):
    image = torch.tensor([200, 100, 20], dtype=torch.uint8).expand(32, 48, 3)
    image = image if kind == "uint8" else image / 255
    page = Page(written(tmp_path, dataclasses.replace(EMPTY, comparisons=[Comparison("view", image, image)])))
    shown = decoded(page.having("img")[0]["src"])
    assert shown.shape == (32, 48, 3)
    np.testing.assert_allclose(shown.mean((0, 1)), [200, 100, 20], atol=3)


def test_values_that_are_no_colours_do_not_break_a_picture(tmp_path):
    image = torch.tensor([math.nan, math.inf, -3.0]).expand(16, 16, 3)
    page = Page(written(tmp_path, dataclasses.replace(EMPTY, gallery=[("broken", image)])))
    np.testing.assert_allclose(decoded(page.having("img")[0]["src"]).mean((0, 1)), [0, 255, 0], atol=3)


def test_channel_first_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a picture H W 3, got \(3, 16, 16\)"):
        write_report(tmp_path / "report.html", dataclasses.replace(EMPTY, gallery=[("x", torch.zeros(3, 16, 16))]))
    assert list(tmp_path.iterdir()) == []


def test_six_comparisons_of_noise_stay_below_five_megabytes(tmp_path):
    noise = torch.randint(0, 256, (700, 1200, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    comparison = Comparison("noise", noise, noise)
    assert len(written(tmp_path, dataclasses.replace(EMPTY, comparisons=[comparison] * 6))) < 5_000_000


def test_the_table_names_columns_with_unit_and_direction(tmp_path):
    rows = {
        "a": {"psnr_masked": 20.0, "ssim": 0.5, "perceptual": "VGG", "sharpness_ratio": 1.8, "views": 8},
        "b": {"psnr_masked": math.nan},
    }
    text = written(tmp_path, dataclasses.replace(EMPTY, metrics=rows))
    assert re.findall(r'<th scope="col">(.*?) <small>(.*?)</small>', text) == [
        ("PSNR masked", "↑ dB"), ("SSIM", "↑ "), ("perceptual", "↓ "), ("sharpness ratio", "→ 1 "), ("views", " "),
    ]  # fmt: skip
    assert re.findall(r"<td>([^<]*)", text) == ["20.00", "0.5000", "VGG", "1.8000", "8", "nan", "–", "–", "–", "–"]


def coordinates(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


@pytest.mark.parametrize(
    "values",
    [
        [1.0, math.nan, 0.5, 0.0, -2.0, math.inf, 0.25],
        [0.0],
        [math.nan],
        [3.0],
        [1e-300, 1e300],
        [1.7e308],
        [5e-324],
        [2.0, 2.0, 2.0],
        [1e-12, 1.0],
    ],
)
def test_a_chart_draws_any_values_inside_its_axes(values):
    (chart,) = loss_charts({"fit": [(step, {"color": value}) for step, value in enumerate(values)]})
    points = coordinates(chart.lines[0].path)
    assert len(points) == sum(math.isfinite(value) and value > 0 for value in values)
    assert "nan" not in chart.lines[0].path and "inf" not in chart.lines[0].path
    for x, y in points:
        assert AXES.left <= x <= AXES.right and AXES.top <= y <= AXES.bottom
    assert len(chart.y_ticks) <= 10


def test_a_chart_is_logarithmic_and_interrupted_where_nothing_can_be_drawn():
    values = [100.0, 10.0, 1.0, 0.0, 1.0]
    (chart,) = loss_charts({"fit": [(step, {"color": value}) for step, value in enumerate(values)]})
    heights = [y for _, y in coordinates(chart.lines[0].path)]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.11)
    assert chart.lines[0].path.count("M") == 2
    assert [tick.label for tick in chart.y_ticks] == ["1", "10", "100"]
    assert chart.lines[0].last == "1.0000"


def test_terms_may_come_and_go():
    (chart,) = loss_charts({"fit": [(0, {"color": 1.0}), (1, {"color": 0.5, "patch": 2.0}), (2, {"patch": 1.5})]})
    assert [(line.name, line.last) for line in chart.lines] == [("color", "0.5000"), ("patch", "1.5000")]


def test_the_horizontal_axis_counts_steps_and_a_stage_without_any_has_no_chart(tmp_path):
    losses = {"fit": [(250, {"color": 1.0}), (1000, {"color": 0.5})], "never begun": []}
    (chart,) = loss_charts(losses)
    assert [tick.label for tick in chart.x_ticks] == ["0", "250", "500", "750", "1,000"]
    assert "0 steps" in Page(written(tmp_path, dataclasses.replace(EMPTY, losses=losses))).text


def test_thinning_keeps_the_ends_and_the_order():
    curve = [(step, {"color": float(step)}) for step in range(10_001)]
    thinned = thin(curve)
    assert len(thinned) == MOST_POINTS
    assert thinned[0] == curve[0] and thinned[-1] == curve[-1]
    assert all(a[0] < b[0] for a, b in itertools.pairwise(thinned))


def event_line(name: str, **fields) -> str:
    return json.dumps({"event": name, "time": 1.0} | fields)


def step_line(step: int, color: float) -> str:
    return event_line("StepDone", stage="fit", step=step, progress=0.1, losses={"color": color}, rays_per_second=1e4)


def test_events_of_a_killed_and_resumed_run_become_one_curve(tmp_path):
    lines = [
        event_line("StageStarted", stage="fit"),
        event_line("Note", text="a façade"),
        event_line("Provenance", text="copies"),
        step_line(10, 1.0),
        step_line(20, 0.8),
        event_line("StageDone", stage="fit", seconds=2.0),
        step_line(30, 0.7)[:25] + event_line("StageStarted", stage="fit"),  # cut off by the kill, then appended to
        event_line("Note", text="a façade"),
        event_line("Provenance", text="copies"),
        step_line(20, 0.75),
        step_line(40, math.nan),
        event_line("ItemDone", stage="render", done=1, total=2),
        event_line("StageDone", stage="render", seconds=1.0),
        event_line("StageDone", stage="fit", seconds=3.5),
    ]
    path = tmp_path / "events.jsonl"
    path.write_bytes("\n".join(lines).encode() + b'\n{"event": "Note", "text": "fa\xc3')
    losses, timings, notes, provenance = read_events(path)
    assert [step for step, _ in losses["fit"]] == [10, 20, 40]
    assert losses["fit"][1][1] == {"color": 0.75}
    assert timings == [("fit", 5.5), ("render", 1.0)]
    assert (notes, provenance) == (["a façade", "copies"], ["copies"])
    Page(written(tmp_path, dataclasses.replace(EMPTY, losses=losses, timings=timings, notes=notes)))


def test_a_games_health_and_the_updated_views_become_curves(tmp_path):
    health = {"stage": "game", "accuracy": 0.7, "gradient_norm": 2.0, "gradient_penalty": 0.1}
    update = {"stage": "game", "view": "a.jpg"}
    lines = [
        event_line("ViewUpdated", step=0, update=0, timestep=1.0, change=None, **update),
        event_line("GameHealth", step=10, **health),
        event_line("GameHealth", step=20, **health),
        event_line("ViewUpdated", step=20, update=1, timestep=0.3, change=0.04, **update),
        event_line("GameHealth", step=20, **(health | {"accuracy": 0.6})),  # again, after a kill
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    losses, *_ = read_events(tmp_path / "events.jsonl")
    assert [step for step, _ in losses["game: the discriminator"]] == [10, 20]
    assert losses["game: the discriminator"][1][1] == {
        "accuracy": 0.6, "gradient norm": 2.0, "gradient penalty": 0.1,
    }  # fmt: skip
    assert losses["game: views inpainted again"] == [
        (20, {"timestep": 0.3, "change of the inpainting": 0.04})
    ]  # fmt: skip


def test_long_event_logs_are_thinned(tmp_path):
    (tmp_path / "events.jsonl").write_text("\n".join(step_line(step, 1 / step) for step in range(1, 1001)))
    curve = read_events(tmp_path / "events.jsonl").losses["fit"]
    assert len(curve) == MOST_POINTS and curve[-1][0] == 1000


def test_an_empty_event_log_has_nothing_to_show(tmp_path):
    (tmp_path / "events.jsonl").touch()
    assert read_events(tmp_path / "events.jsonl") == ({}, [], [], [])


def test_numbers_and_durations_read_well():
    numbers = [26.4312, 0.01314, 12400.0, 3.2e-5, 0.0, 8, math.nan]
    assert [number_text(n) for n in numbers] == ["26.43", "0.0131", "12,400", "3.2e-05", "0", "8", "nan"]
    durations = [0.417, 12.34, 59.97, 185, 7800]
    assert [duration_text(s) for s in durations] == ["0.42 s", "12.3 s", "1 min 00 s", "3 min 05 s", "2 h 10 min"]
