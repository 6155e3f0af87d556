"""A picture of where the time of ``run`` goes: a bar for each runtime, as SVG."""

from __future__ import annotations

from html import escape

WIDTH, LABEL, BAR, GAP, LINE = 900, 60, 34, 26, 20
#: By part, in the order of the bars; bright enough for dark letters on either ground.
COLOURS = {
    "launcher, sealing": "#c9ced6",
    "start": "#8ecae6",
    "imports": "#a8b8ff",
    "config, plan, cgroups": "#b7e4a0",
    "namespaces, mounts, identity": "#ffd97d",
    "the program": "#f7b2ad",
    "taking it away": "#d9b8f0",
}
#: The ground belongs to the picture, so its letters can be read on a dark page as well.
_STYLE = """\
<style>
  .ground { fill: #ffffff } text { font: 13px sans-serif; fill: #1f2328 }
  @media (prefers-color-scheme: dark) { .ground { fill: #161b22 } text { fill: #e6edf3 } }
</style>"""


def picture(parts: dict[str, dict[str, float]], title: str) -> str:
    """Return the picture of the milliseconds of each part by runtime."""
    longest = max(sum(by.values()) for by in parts.values())
    scale = (WIDTH - LABEL - 90) / longest
    shapes = [text(LABEL, 24, title)]
    top = 40
    for name, by in parts.items():
        shapes += bar(name, by, top, scale)
        top += BAR + GAP
    used = [part for part in COLOURS if any(part in by for by in parts.values())]
    for index, part in enumerate(used):
        x, y = LABEL + index % 3 * 270, top + index // 3 * LINE
        shapes += [f'<rect x="{x}" y="{y}" width="12" height="12" fill="{COLOURS[part]}"/>']
        shapes += [text(x + 18, y + 11, part)]
    height = top + (len(used) + 2) // 3 * LINE + 12
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    ground = f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", _STYLE, ground, *shapes, "</svg>", ""])


def bar(name: str, by: dict[str, float], top: int, scale: float) -> list[str]:
    """Return the shapes of a runtime's bar; a part that is wide enough has its milliseconds inside."""
    middle = top + BAR // 2 + 5
    shapes, left = [text(10, middle, name)], float(LABEL)
    for part, took in by.items():
        width = took * scale
        tip = f"<title>{escape(part)}: {took:.1f} ms</title>"
        shapes.append(
            f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[part]}">'
            f"{tip}</rect>"
        )
        if width > 28:
            shapes.append(
                text(left + width / 2, middle, f"{took:.1f}", ' style="fill: #1f2328" text-anchor="middle"')
            )
        left += width
    return [*shapes, text(left + 6, middle, f"{sum(by.values()):.1f} ms")]


def text(x: float, y: float, words: str, more: str = "") -> str:
    """Return a line of text."""
    return f'<text x="{x:.0f}" y="{y:.0f}"{more}>{escape(words)}</text>'
