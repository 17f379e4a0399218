"""The experiments of the checkout, behind the package that is installed; Keras on JAX."""

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
sys.path.append(str(Path(__file__).parent.parent.parent))
