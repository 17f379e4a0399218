"""The frame of a self-contained page.

It is one HTML file, with its pictures inside.
"""

import base64
import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxcnn.inspect.plots import Animation

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #30343b; max-width: 58rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
img { max-width: 100%; height: auto; display: block; margin: .3rem 0; }
table { border-collapse: collapse; font-size: .85rem; } th { text-align: left; border-bottom: 1px solid #999; }
td, th { padding: .15rem .9rem .15rem 0; }
th:nth-child(n+4), td:nth-child(n+4) { text-align: right; }
pre { background: #f3f3f1; padding: .6rem; overflow-x: auto; font-size: .8rem; }
.note { color: #6b7078; font-size: .85rem; margin: .2rem 0; } .big { font-size: 1.3rem; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Makes a complete page.

    Args:
      title: title of the window.
      parts: markup of the body, in order.

    Returns:
      The HTML of the page.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def section(heading: str, note: str, *figures: "tuple[Figure | Animation, str]") -> list[str]:
    """Makes a section of a heading, a note and figures.

    Args:
      heading: plain text.
      note: plain text; an empty note is left out.
      *figures: figures, each with its description in words.

    Returns:
      The markup.
    """
    noted = [f'<p class="note">{text(note)}</p>'] if note else []
    return [f"<h2>{text(heading)}</h2>", *noted, *(image(figure, description) for figure, description in figures)]


def image(figure: "Figure | Animation", description: str) -> str:
    """Makes the markup of a figure in its natural size.

    Args:
      figure: a figure or an animation.
      description: alternative text for readers who cannot see the figure.
    """
    from jaxcnn.inspect.plots import saving

    moves = isinstance(figure, saving.Animation)
    still = figure.figure if moves else figure
    data = base64.b64encode(saving.as_gif(figure) if moves else saving.as_png(figure)).decode()
    kind = "gif" if moves else "png"
    width = round(still.get_figwidth() * 96)
    return f'<img width="{width}" alt="{text(description)}" src="data:image/{kind};base64,{data}">'


def text(value: Any) -> str:
    """Escapes plain text for markup."""
    return html.escape(str(value))
