"""What the tests of the data share."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def one_sentence() -> Callable[[Exception, Path | str], None]:
    """A check that an error is one line, ends with a full stop and names the file."""

    def check(error: Exception, path: Path | str) -> None:
        message = str(error)
        assert str(path) in message
        assert message.endswith(".") and "\n" not in message

    return check
