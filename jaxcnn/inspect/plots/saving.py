"""How figures and animations are saved."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from jaxcnn.training import write_atomically


class Animation(NamedTuple):
    """A figure that changes from step to step.

    Shows itself in a notebook.
    """

    figure: Figure
    draw: Callable[[int], None]  # shows a step
    steps: int
    rate: float = 2.0  # steps a second

    def _repr_html_(self) -> str:
        import base64

        data = base64.b64encode(as_gif(self)).decode()
        return f'<img alt="animation" src="data:image/gif;base64,{data}">'


def save(figure: Figure | Animation, path: str | Path) -> Path:
    """Writes a figure as PNG or SVG, an animation as GIF.

    Args:
      figure: what to write.
      path: of the file; its ending names the format.

    Returns:
      The path.

    Raises:
      ValueError: if the ending is none of these, or not for this.
    """
    path = Path(path)
    kinds: dict[str, Callable[[Any], bytes]] = {".png": as_png, ".svg": as_svg}
    if isinstance(figure, Animation):
        kinds = {".gif": as_gif}
    if path.suffix not in kinds:
        raise ValueError(f"`path` must end in {' or '.join(kinds)} here; got {path}.")
    write_atomically(path, kinds[path.suffix](figure))
    return path


def as_png(figure: Figure, dpi: float = 192) -> bytes:
    """The bytes of a PNG file."""
    return _bytes(figure, format="png", dpi=dpi)


def as_svg(figure: Figure) -> bytes:
    """The bytes of an SVG file.

    The same figure gives the same bytes.
    """
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "jaxcnn", "svg.fonttype": "path"}):
        return _bytes(figure, format="svg", metadata={"Date": None})


def as_gif(animation: Animation, dpi: float = 110) -> bytes:
    """The bytes of a GIF file that runs for ever."""
    import tempfile

    from matplotlib.animation import PillowWriter

    writer = PillowWriter(fps=animation.rate)  # pyright: ignore[reportArgumentType]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "animation.gif"
        with writer.saving(animation.figure, str(path), dpi):
            for step in range(animation.steps):
                animation.draw(step)
                writer.grab_frame()
        return path.read_bytes()


def _bytes(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, **options)
    return buffer.getvalue()
