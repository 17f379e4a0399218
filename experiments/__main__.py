"""`python -m experiments`: the list of experiments."""

import sys

from experiments.index import main

sys.exit(main())
