"""Who may import whom inside jaxcnn, and how long a file or a function may be."""

import ast
from pathlib import Path

import jaxcnn

ROOT = Path(jaxcnn.__file__).parent

ALLOWED = {
    "geometry": set(),
    "ops": {"geometry"},
    "by_hand": {"geometry", "ops"},
    "check": set(),
    "layers": {"geometry", "ops"},
    "models": {"geometry", "ops", "layers"},
    "data": {"geometry"},
    "training": {"geometry", "ops", "layers", "data"},
    "inspect": {"geometry", "ops", "by_hand", "layers", "models", "data", "training"},
    "weights": {"geometry", "ops", "layers", "models", "data", "training"},
    "export": {"geometry", "ops", "layers", "models", "data", "training"},
    "cli": {"geometry", "ops", "layers", "models", "data", "training", "inspect", "weights", "export", "check"},
}


def imported_parts(file: Path) -> set[str]:
    """The parts of jaxcnn that a file imports, wherever in the file it does."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: imports are absolute"
            # `from jaxcnn import ops` names the part in the alias
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("jaxcnn.")}


def test_every_part_is_in_the_table():
    parts = {path.stem for path in ROOT.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    modules = {path.stem for path in ROOT.glob("*.py")} - {"__init__", "__main__"}
    assert parts | modules == set(ALLOWED)


def test_arrows_only_go_down():
    wrong = []
    for part, allowed in ALLOWED.items():
        files = (ROOT / part).rglob("*.py") if (ROOT / part).is_dir() else [ROOT / f"{part}.py"]
        for file in files:
            wrong += [f"{file.relative_to(ROOT)} imports {other}" for other in imported_parts(file) - allowed - {part}]
    assert not wrong


def test_ops_know_no_flax():
    for file in [*(ROOT / "ops").rglob("*.py"), *(ROOT / "geometry").rglob("*.py")]:
        assert "flax" not in file.read_text().replace("flax.nnx.Conv", ""), file


MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 350, 80
LONGER: set[str] = set()  # exceptions; there are none


def test_files_are_short():
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in ROOT.rglob("*.py")}
    assert {name for name, length in lengths.items() if length > MOST_LINES_OF_A_FILE} == LONGER


def test_functions_are_short():
    """Their lines are counted without the docstring."""
    long = []
    for file in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and node.body[1:] else node.body
                if (node.end_lineno or 0) - body[0].lineno + 1 > MOST_LINES_OF_A_FUNCTION:
                    long.append(f"{file.relative_to(ROOT)}:{node.name}")
    assert set(long) == LONGER
