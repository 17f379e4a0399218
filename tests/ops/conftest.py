"""What tests of operations share."""

import pytest

from jaxcnn.ops import native
from jaxcnn.ops.native import backend


@pytest.fixture(scope="module")
def built():
    """The backend; where oneDNN or a compiler is not installed, what needs it is skipped."""
    try:
        backend._parts()
        backend._compiler()
    except RuntimeError as missing:
        pytest.skip(str(missing))
    native.build()
    assert native.available()
