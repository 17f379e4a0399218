"""The reference: docstrings with Markdown's code spans, names as users write them, a check that none is missing."""

import importlib
import inspect
import re
import types
from pathlib import Path
from typing import Any

from docutils import nodes
from jax import lax
from jax.typing import ArrayLike, DTypeLike
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.typing import stringify_annotation

import jaxcnn
from jaxcnn import geometry

LOGGER = logging.getLogger(__name__)
PACKAGES = (
    "jaxcnn",
    *(f"jaxcnn.{name}" for name in jaxcnn.__all__),
    "jaxcnn.cli",
    "jaxcnn.inspect.plots",
    "jaxcnn.ops.filters",
    "jaxcnn.ops.native",
)


def public(package: str) -> list[str]:
    """The public names of a package: those of `__all__`, or else the functions that it defines."""
    module = importlib.import_module(package)
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [name for name, value in vars(module).items() if inspect.isfunction(value) and _is_own(name, value, module)]


def _is_own(name: str, value: Any, module: types.ModuleType) -> bool:
    return not name.startswith("_") and value.__module__ == module.__name__


def public_names() -> dict[str, Any]:
    """Every public name, in full, and its value; what has two names is listed under both."""
    return {
        f"{package}.{name}": getattr(importlib.import_module(package), name)
        for package in PACKAGES
        for name in public(package)
        if (package, name) != ("jaxcnn.by_hand", "by_hand")  # it hides its package: users write `jaxcnn.by_hand`
    }


NAMES = public_names()
# pages of classes whose names differ from a function's in the case of letters only, as some file systems do not see
PAGE_NAMES = {
    name: f"{name}-class"
    for name, value in NAMES.items()
    if isinstance(value, type) and f"{name.rpartition('.')[0]}.{name.rpartition('.')[2].lower()}" in NAMES
}
# where a class or function is defined, and where users find it: the longest name is that of its own package
_HOMES = {
    f"{value.__module__}.{value.__qualname__}": name
    for name, value in NAMES.items()
    if isinstance(value, type) or inspect.isfunction(value)
}
_ALIASES = {
    re.compile(rf"(?<![\w.~]){re.escape(typehint)}(?![\w.])"): alias
    for typehint, alias in {
        stringify_annotation(ArrayLike, "smart"): "~jax.typing.ArrayLike",
        stringify_annotation(DTypeLike, "smart"): "~jax.typing.DTypeLike",
        stringify_annotation(lax.PrecisionLike, "smart"): "~jax.lax.PrecisionLike",
        stringify_annotation(geometry.Padding, "smart"): "~jaxcnn.geometry.Padding",
    }.items()
} | {re.compile(r"\bjax\.jaxlib\._jax\.Array\b"): "jax.Array"}
_ATTRIBUTES: dict[str, list[str]] = {}
_SPAN = re.compile(r"(?<![`:\\])`([^`]+)`(?![`_])")


def clear(app: Sphinx, config: Any) -> None:
    """Removes pages of names that are public no more."""
    for page in (Path(app.srcdir) / "reference" / "generated").glob("*.rst"):
        if page.stem not in {PAGE_NAMES.get(name, name) for name in NAMES}:
            page.unlink()


def _as_rst(lines: list[str], package: str) -> list[str]:
    """Turns Markdown's code spans into links to public names, or into reStructuredText's literals."""

    def one(found: re.Match[str]) -> str:
        text = " ".join(found[1].split())
        bare = text.removesuffix("()")
        for name in (bare, f"jaxcnn.{bare}", f"{package}.{bare}"):
            if name in NAMES and ("." in bare or package):
                return f":py:obj:`{text} <{name}>`"
        return f"``{text}``"

    parts = re.split(r"(^[ ]*(?:>>>|\.\.\.).*$)", "\n".join(lines), flags=re.MULTILINE)
    for at in range(0, len(parts), 2):
        words = _SPAN.sub(lambda found: "\0" + one(found) + "\0", parts[at]).split("\0")
        words[::2] = [re.sub(r"(?<!\\)\|", r"\\|", word) for word in words[::2]]
        parts[at] = "".join(words)
    return "".join(parts).splitlines()


def _field_comment(owner: Any, field: str) -> str:
    """What a comment behind a field of a named tuple says."""
    found = re.search(rf"^ +{field}: .*?  # (.+)$", inspect.getsource(owner), re.MULTILINE)
    return found[1] if found else ""


def _is_attribute(what: str) -> bool:
    return what in ("attribute", "property", "data")


def process_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Prepares one docstring."""
    if lines and lines[0].startswith("Alias for field number"):
        owner = NAMES.get(name.rpartition(".")[0])
        comment = _field_comment(owner, name.rpartition(".")[2]) if owner else ""
        lines[:] = [f"{comment[0].upper()}{comment[1:]}." if comment else ""]
    package = max((each for each in PACKAGES if name.startswith(f"{each}.")), key=len, default="")
    lines[:] = _as_rst(lines, package)
    if _is_attribute(what):  # napoleon would take what stands before a colon for a type
        _ATTRIBUTES[name] = list(lines)


def keep_attribute(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Gives an attribute its words back."""
    if _is_attribute(what) and name in _ATTRIBUTES:
        lines[:] = _ATTRIBUTES.pop(name)


def process_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Gives unions the names that users know."""

    def named(text: str | None) -> str | None:
        for pattern, alias in _ALIASES.items():
            text = text and pattern.sub(alias, text)
        return text

    return named(signature), named(returns)


def process_bases(app: Sphinx, name: str, obj: Any, options: Any, bases: list[Any]) -> None:
    """Names the first public class above a private one."""
    bases[:] = [
        next(each for each in base.__mro__ if not each.__name__.startswith("_")) if isinstance(base, type) else base
        for base in bases
    ]


def resolve(app: Sphinx, env: Any, node: nodes.Element, contnode: nodes.Node) -> nodes.Node | None:
    """Leads a reference to where a thing is defined, as in annotations, to its public name."""
    target = node.get("reftarget", "")
    home = _HOMES.get(target)
    if node.get("refdomain") != "py" or not home or home == target:
        return None
    return env.get_domain("py").resolve_xref(
        env, node["refdoc"], app.builder, "obj", home, node, nodes.literal(text=home.rpartition(".")[2])
    )


def check_complete(app: Sphinx, env: Any) -> None:
    """Warns of every public name without an entry."""
    entries = set(env.get_domain("py").objects)
    for name in sorted(set(NAMES) - entries):
        LOGGER.warning("the reference has no entry for %s", name, type="reference", subtype="missing")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connects them."""
    app.connect("config-inited", clear)
    app.connect("autodoc-process-docstring", process_docstring, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", keep_attribute, priority=900)  # after it
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-process-bases", process_bases)
    app.connect("missing-reference", resolve)
    app.connect("env-check-consistency", check_complete)
    return {"parallel_read_safe": True}
