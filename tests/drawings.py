"""Whether a figure can be read: nothing cut off, nothing over something else, nothing blank."""

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def whole(figure: Figure, dpi: float = 96) -> Figure:
    """Draws a figure as saving would, and asserts that it can be read.

    Every text and every panel lies on the canvas, no two texts and no two panels' frames overlap, no panel is without
    content, and there is more than one color. Returns the figure.
    """
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    pixels = np.asarray(canvas.buffer_rgba()).view(np.uint32)
    assert len(np.unique(pixels)) > 2, "blank"
    texts = [(text.get_text(), text.get_window_extent(renderer)) for text in _texts(figure)]
    panels = [axes for axes in figure.findobj(Axes) if axes.get_visible() and axes.axison]
    for name, box in [*texts, *((f"panel {axes.get_title()}", axes.get_window_extent(renderer)) for axes in panels)]:
        inside = box.x0 >= -0.5 and box.y0 >= -0.5
        inside = inside and box.x1 <= figure.bbox.x1 + 0.5 and box.y1 <= figure.bbox.y1 + 0.5
        assert inside, f"{name!r} is cut off: {box.extents.round()} of {figure.bbox.extents.round()}"
    for (name, box), (other, its) in itertools.combinations(texts, 2):
        assert not _overlap(box, its), f"{name!r} at {box.extents.round()} lies over {other!r} at {its.extents.round()}"
    for one, other in itertools.combinations(panels, 2):
        lying = _overlap(one.get_window_extent(renderer), other.get_window_extent(renderer))
        assert not lying or other in one.child_axes or one in other.child_axes, "a panel lies over another"
    for axes in panels:
        assert axes.has_data() or axes.texts or axes.patches or axes.child_axes, "a panel without content"
    return figure


def _texts(figure: Figure) -> list[Text]:
    """The texts that are drawn: not those of hidden axes, nor of ticks outside the view."""
    hidden = set()
    for axes in figure.findobj(Axes):
        for axis in (axes.xaxis, axes.yaxis):
            drawn = axis._update_ticks() if axes.get_visible() and axes.axison else []
            ticks = [tick for tick in (*axis.majorTicks, *axis.minorTicks) if tick not in drawn]
            hidden |= {id(text) for tick in ticks for text in (tick.label1, tick.label2)}
            if not (axes.get_visible() and axes.axison):
                hidden |= {id(axis.label), id(axis.offsetText)}
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and id(t) not in hidden]


def _overlap(one: Bbox, other: Bbox) -> bool:
    """By more than a pixel each way: neighbors may touch."""
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return wide > 1 and high > 1
