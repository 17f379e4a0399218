"""What tests of operations share."""

import pytest

from jaxcnn.ops import native


@pytest.fixture(scope="module")
def built():
    """Skips what needs the C++ backend where it is not available; `.ci/run` sees to it that it is where it can be."""
    if not native.available():
        pytest.skip(native.reason())
