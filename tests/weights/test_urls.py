"""Files of weights from plain addresses: continued, checked, cached, offline, by several processes at once."""

import contextlib
import hashlib
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hub_server import Hub, suffixed

from jaxcnn.weights import urls

CONTENT = np.random.default_rng(0).bytes(300_000)
NAME = suffixed("net.pth", CONTENT)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with Hub() as server:
        server.plain[NAME] = server.plain["net.pth"] = CONTENT
        yield server


def test_a_file_is_downloaded_once_and_its_digest_checked(hub):
    for _ in range(2):
        file, digest = urls.from_url(f"{hub.url}/files/{NAME}")
        assert file == urls.cache_folder() / NAME and file.read_bytes() == CONTENT and digest == DIGEST
    assert hub.downloads() == 1
    other, _ = urls.from_url(f"{hub.url}/files/net.pth#sha256={DIGEST}")
    assert other.name == f"{DIGEST[:16]}-net.pth" and other.read_bytes() == CONTENT


def test_a_download_that_breaks_off_goes_on_where_it_was(hub):
    hub.breaks = [100_000, 50_000]
    file, _ = urls.from_url(f"{hub.url}/files/{NAME}")
    assert file.read_bytes() == CONTENT
    assert [given for *_, given in hub.requests] == ["", "bytes=100000-", "bytes=150000-"]


def test_another_process_goes_on_with_what_one_left(hub):
    urls.cache_folder().mkdir(parents=True)
    (urls.cache_folder() / f"{NAME}.part").write_bytes(CONTENT[:250_000])
    file, _ = urls.from_url(f"{hub.url}/files/{NAME}")
    assert file.read_bytes() == CONTENT and [given for *_, given in hub.requests] == ["bytes=250000-"]
    assert list(urls.cache_folder().iterdir()) == [file]


def test_a_draft_longer_than_the_file_is_begun_anew(hub):
    urls.cache_folder().mkdir(parents=True)
    (urls.cache_folder() / f"{NAME}.part").write_bytes(CONTENT + b"more")
    assert urls.from_url(f"{hub.url}/files/{NAME}")[0].read_bytes() == CONTENT


def test_a_wrong_digest_is_refused_and_nothing_kept(hub):
    hub.spoiled[CONTENT] = CONTENT[::-1]
    with pytest.raises(
        ValueError, match=rf"must have a SHA-256 that begins with {DIGEST[:8]}; got \w{{8}}, so the file"
    ):
        urls.from_url(f"{hub.url}/files/{NAME}")
    assert not list(urls.cache_folder().iterdir())
    hub.spoiled.clear()
    file, _ = urls.from_url(f"{hub.url}/files/{NAME}")
    file.write_bytes(b"damaged since")
    with pytest.raises(ValueError, match="download it once more"):
        urls.from_url(f"{hub.url}/files/{NAME}")
    assert urls.from_url(f"{hub.url}/files/{NAME}")[0].read_bytes() == CONTENT


def test_offline_only_the_cache_is_used(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match=r"must be downloaded before it is used offline \(HF_HUB_OFFLINE\)"):
        urls.from_url(f"{hub.url}/files/{NAME}")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    urls.from_url(f"{hub.url}/files/{NAME}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert urls.from_url(f"{hub.url}/files/{NAME}")[1] == DIGEST
    assert len(hub.requests) == 1


@pytest.mark.parametrize(
    ("name", "status", "kind", "part"),
    [
        ("net.pth", 0, ValueError, "`name` must end in the file's digest, as resnet50-0676ba61.pth does"),
        ("no-01234567.pth", 0, FileNotFoundError, "must exist; the server knows no such file."),
        (NAME, 403, ConnectionError, "cannot be downloaded: 403 Forbidden."),
        (NAME, 503, ConnectionError, "cannot be downloaded: 503 Service Unavailable."),
    ],
    ids=str,
)
def test_each_failure_is_one_sentence(hub, name, status, kind, part):
    hub.status = status
    with pytest.raises(kind) as refused:
        urls.from_url(f"{hub.url}/files/{name}")
    assert part in str(refused.value) and str(refused.value).count("\n") == 0


def test_without_a_server_it_says_so(hub, monkeypatch):
    with pytest.raises(ConnectionError, match=r"net-\w{8}.pth cannot be downloaded: \[Errno \d+\] Connection refused"):
        urls.from_url(f"http://127.0.0.1:9/files/{NAME}")


def test_several_at_once_download_it_once(hub):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(urls.from_url(f"{hub.url}/files/{NAME}"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1 and found[0][0].read_bytes() == CONTENT
    assert hub.downloads() == 1 and list(urls.cache_folder().iterdir()) == [found[0][0]]


@pytest.mark.skipif(os.name == "nt", reason="no such limit there")
def test_a_full_disk_is_told_of_with_the_file(hub):
    code = (
        "import resource, sys; from jaxcnn.weights import urls;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        f"urls.from_url('{hub.url}/files/{NAME}')"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"OSError: [Errno 27] File too large: '{urls.cache_folder() / NAME}'" in found.stderr
    with contextlib.suppress(OSError):
        assert urls.from_url(f"{hub.url}/files/{NAME}")[0].read_bytes() == CONTENT  # and goes on when there is room
