"""What a stranger gets: addresses in one place, an archive and a wheel that work alone, a notebook that installs."""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import jupytext
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY, DOCUMENTATION = PROJECT["urls"]["Repository"], PROJECT["urls"]["Documentation"]
COLAB = REPOSITORY.replace("https://github.com/", "https://colab.research.google.com/github/")
PYTHONS = ["3.11", "3.12", "3.13"]
SUFFIXES = {".py", ".json", ".tsv", ".html", ".cc", ".h", ".typed"}  # of the package's files
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}


def pages():
    """All that a visitor reads, and what machines read of it."""
    for pattern in (
        "*.md",
        "*.toml",
        "*.cff",
        "docs/**/*.md",
        "docs/*.py",
        "colab/*.*",
        ".github/**/*.*",
        "experiments/*.md",
    ):
        yield from ROOT.glob(pattern)


def test_every_address_of_ours_is_that_of_pyproject():
    known = re.compile("|".join(map(re.escape, (REPOSITORY, DOCUMENTATION, COLAB, "https://pypi.org/project/jaxcnn"))))
    named = {}
    for page in pages():
        for address in re.findall(r"https?://[^\s\"'`<>)\]}\\]*jaxcnn[^\s\"'`<>)\]}\\]*", page.read_text()):
            named.setdefault(address, page.name)
    assert len(named) > 15
    strange = {
        address: page for address, page in named.items() if not re.match(rf"(?:{known.pattern})(?:[/.]|$)", address)
    }
    assert not strange
    assert set(PROJECT["urls"]) == {"Homepage", "Repository", "Documentation", "Changelog", "Issues"}
    forms = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml").read_text())
    assert forms["contact_links"][0]["url"] == DOCUMENTATION


def test_the_citation_is_of_this_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation), "the format demands these"
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"]
    assert (citation["repository-code"], citation["url"]) == (REPOSITORY, DOCUMENTATION)
    assert citation["abstract"] == PROJECT["description"] and citation["keywords"] == PROJECT["keywords"]
    assert f"title = {{{citation['title']}}}" in (ROOT / "README.md").read_text()


def test_the_changelog_tells_of_this_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d\d-\d\d)?$", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert PROJECT["version"] in (headings[1] if len(headings) > 1 else text)
    assert re.findall(r"^\[(.+?)\]: https", text, re.MULTILINE) == headings


def test_pythons_are_the_same_everywhere():
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    named = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in PROJECT["classifiers"]]
    assert [found[1] for found in named if found] == PYTHONS
    for workflow, job in (("test", "test"), ("release", "try")):
        assert WORKFLOWS[workflow]["jobs"][job]["strategy"]["matrix"]["python"] == PYTHONS


def test_workflows_install_extras_that_exist_and_publish_without_a_password():
    extras = set(PROJECT["optional-dependencies"])
    if not (ROOT / "docs" / "conf.py").exists():
        extras.add("docs")
    for workflow in WORKFLOWS.values():
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"]
            lines = "\n".join(step.get("run", "") for step in job["steps"])
            for named in re.findall(r'pip install "\.\[(.+?)\]"', lines):
                assert set(named.split(",")) <= extras
    publish = WORKFLOWS["release"]["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"} and publish["environment"]["name"] == "pypi"
    assert "tag" in publish["if"] and publish["needs"] == "try"
    assert not any("password" in step.get("with", {}) for step in publish["steps"])


def test_contributing_names_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert set(re.findall(r"^\| `pytest tests/(\w+)`", text, re.MULTILINE)) == folders
    for module in re.findall(r"^python -m experiments\.(\w+)", text, re.MULTILINE):
        assert (ROOT / "experiments" / f"{module}.py").is_file()
    for page in ("CONTRIBUTING.md", "CHANGELOG.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text()):
            assert "://" in link or (ROOT / link).exists(), link


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A copy of the checkout, and the source archive and wheel that are built from it."""
    copy, out = tmp_path_factory.mktemp("copy") / "jaxcnn", tmp_path_factory.mktemp("dist")
    made = shutil.ignore_patterns(
        ".git", "__pycache__", ".*_cache", "*.egg-info", "build", "dist", "runs", ".venv*", "_build"
    )
    shutil.copytree(ROOT, copy, ignore=made)
    options = ["--no-isolation", "--skip-dependency-check", "--outdir", out]
    subprocess.run([sys.executable, "-m", "build", *options, copy], check=True, capture_output=True)
    (archive,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return copy, archive, wheel


def needed(*requirements):
    """The installed distributions that these need, with all that those need."""
    found, seen, waiting = {}, set(), list(map(Requirement, requirements))
    while waiting:
        wanted = waiting.pop()
        key = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if key in seen:
            continue
        seen.add(key)
        try:
            found[key[0]] = distribution(wanted.name)
        except PackageNotFoundError:  # not needed here: what is, pip misses below
            continue
        for line in found[key[0]].requires or []:
            more = Requirement(line)
            if more.marker is None or any(more.marker.evaluate({"extra": extra}) for extra in {"", *wanted.extras}):
                waiting.append(more)
    return found


@pytest.fixture
def python(tmp_path):
    """The Python of a fresh environment that has what jaxcnn needs, pip, setuptools and IPython, and not jaxcnn."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for found in needed(*PROJECT["dependencies"], "pip", "setuptools", "ipython").values():
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(found.locate_file(top))
    return folder / "bin" / "python"


@pytest.fixture
def index(tmp_path):
    """A folder that is served here as the only package index, and the environment variables that say so."""
    folder = tmp_path / "index"
    (folder / "simple").mkdir(parents=True)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    keep = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "JAXCNN_"))}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}"
        variables = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"{here}/simple",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as: without isolation
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "JAX_PLATFORMS": "cpu",
            "NO_PROXY": "127.0.0.1",
            # the repository's host is this one
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{here}/git.insteadOf",
            "GIT_CONFIG_VALUE_0": REPOSITORY,
            "GIT_TERMINAL_PROMPT": "0",
        }
        yield folder, keep | variables
        server.shutdown()


@pytest.mark.slow
def test_archive_and_wheel_hold_the_package(built):
    copy, archive, wheel = built
    package = {
        str(path.relative_to(copy))
        for path in (copy / "jaxcnn").rglob("*")
        if path.is_file() and path.suffix in SUFFIXES
    }
    assert {Path(name).suffix for name in package} == SUFFIXES
    with tarfile.open(archive) as held:
        names = {name.partition("/")[2] for name in held.getnames()}
    assert package | {"pyproject.toml", "README.md", "LICENSE"} <= names
    with zipfile.ZipFile(wheel) as held:
        names = set(held.namelist())
        metadata = held.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    assert {name for name in package if not name.endswith((".cc", ".h"))} <= names  # what is compiled may stay behind
    assert {name.partition("/")[0] for name in names} == {"jaxcnn", f"jaxcnn-{PROJECT['version']}.dist-info"}
    for label, address in PROJECT["urls"].items():
        assert f"Project-URL: {label}, {address}" in metadata
    links = re.findall(r"\]\(([^)]+)\)", metadata)
    assert len(links) > 20 and all(link.startswith("https://") for link in links), "an index shows README.md too"


@pytest.mark.slow
def test_the_wheel_alone_trains(built, python, index, tmp_path):
    _, variables = index
    (tmp_path / "elsewhere").mkdir()

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path / "elsewhere", env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    run(python, "-m", "pip", "install", "-q", "--no-index", built[2])
    run(python, "-m", "pip", "check")
    where = run(python, "-c", "import jaxcnn; print(jaxcnn.__file__)")
    assert Path(where.strip()).is_relative_to(tmp_path / "environment")
    run(python.with_name("jaxcnn"), "train", "--epochs", "1", "--out", "run")
    last = json.loads((tmp_path / "elsewhere" / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last and (tmp_path / "elsewhere" / "run" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("source", ["checkout", "name", "repository", "none", "newer jax"])
def test_the_notebooks_install_from_what_can_be_had(built, python, index, tmp_path, source):
    """The first code cell of the notebooks, in IPython, and what follows it in the same process."""
    copy, _, wheel = built
    folder, variables = index
    stands = tmp_path / "student"
    stands.mkdir()
    expected = "Installed jaxcnn."
    if source == "checkout":
        stands, expected = copy / "colab", f"Installed {copy}."
    elif source == "name":
        (folder / "simple" / "jaxcnn").mkdir()
        shutil.copy(wheel, folder / "simple" / "jaxcnn")
    elif source == "newer jax":  # which would take the place of the one that is here
        for name, version, needs in (("jaxcnn", "99", "Requires-Dist: jax>=99\n"), ("jax", "99", "")):
            (folder / "simple" / name).mkdir()
            with zipfile.ZipFile(folder / "simple" / name / f"{name}-{version}-py3-none-any.whl", "w") as made:
                info = f"{name}-{version}.dist-info"
                made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
                made.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
                made.writestr(f"{info}/RECORD", "")
    elif source == "repository":
        shutil.copytree(copy, tmp_path / "repository")
        for command in (
            ["init", "-q"],
            ["add", "."],
            ["-c", "user.name=A", "-c", "user.email=a@b", "commit", "-qm", "A"],
        ):
            subprocess.run(["git", *command], cwd=tmp_path / "repository", check=True)
        variables["GIT_CONFIG_KEY_0"] = f"url.file://{tmp_path / 'repository'}.insteadOf"
        expected = f"Installed git+{REPOSITORY}."
    cell = jupytext.read(ROOT / "colab" / "01_first_network.py").cells[1].source
    script = tmp_path / "cell.py"
    after = "\nimport jax, jaxcnn\nprint(jaxcnn.__file__, jax.__version__)"
    script.write_text(cell + after)

    def run():
        command = [python, "-m", "IPython", "--no-banner", "--colors=NoColor", script]
        return subprocess.run(command, cwd=stands, env=variables, capture_output=True, text=True)

    done = run()
    lines = done.stdout.strip().splitlines()
    if source in ("none", "newer jax"):
        assert lines[-1] == "ImportError: Not installed: jaxcnn; to see why, run %pip install jaxcnn"
        assert not re.search("^(Installed|Nothing)", done.stdout, re.MULTILINE)
        return
    assert lines[0] == expected, done.stdout + done.stderr
    place, jax_after = lines[1].rsplit(" ", 1)
    assert Path(place).is_relative_to(tmp_path / "environment") and jax_after == distribution("jax").version
    assert run().stdout.startswith("Nothing had to be installed.\n")
