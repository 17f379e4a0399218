"""Makes a web page that holds a network and its runtime."""

import base64
import gzip
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple


class Runtime(NamedTuple):
    """The files of ONNX Runtime Web that a page needs.

    Args:
      version: as in its package.
      script: the JavaScript module.
      program: the WebAssembly program, which the module starts.
    """

    version: str
    script: bytes
    program: bytes


def web_page(
    network: bytes,
    runtime: Runtime,
    told: Mapping[str, Any],
    *,
    title: str,
    about: Sequence[str],
    footer: Sequence[str],
) -> str:
    """Makes a page in which a network can be tried out.

    The page is one file that needs no server and no connection.

    Args:
      network: an ONNX graph that takes pictures of any size, with `"pixels"` and the listed stages as further outputs.
      runtime: what runs it.
      told: what the script of the page must know of the network, as plain values: `kind` of the answers (`"classes"`,
        `"labels"` or `"values"`) and their `names`; `height`, `width` and `channels` of the stored pictures; `seen`,
        the size after the center was cut out; `fit`, the size to which pictures are resized; `draw`, whether there is a
        drawing field, and `dark`, whether its ground is black; `stages`, each with `name`, `height`, `width`, `shown`
        and `maps`; `examples` of the `split`, each with `source` and `label`.
      title: plain text.
      about: paragraphs of plain text below the title.
      footer: sentences of markup at the end.

    Returns:
      The HTML of the page.
    """
    parts = {
        "title": html.escape(title),
        "about": "\n".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in about),
        "footer": " ".join(footer),
        "told": json.dumps(told).replace("<", "\\u003c"),
        "network": _packed(network),
        "script": _packed(runtime.script),
        "program": _packed(runtime.program),
    }
    template = resources.files("jaxcnn.export").joinpath("web_page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _packed(content: bytes) -> str:
    """Compresses a file, and writes it in base64."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()
