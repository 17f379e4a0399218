"""jaxcnn against its peers: time, memory and compile time, each row measured in one run.

`jaxcnn bench`, or `python -m experiments.benchmarks` from the root of the repository, runs them; `--list` names the
rows. Every peer is written as its own users would write it, in a file of its own. What the peers share, the networks'
shapes and the optimizer (SGD with momentum), is in `networks.py`; what jaxcnn claims, and the bars, in `bars.py`.
"""
