"""What a trained network holds and does."""

from jaxcnn.inspect.probes import PCA, Neighbours, Probe, neighbours, pca, probe
from jaxcnn.inspect.report import write_report
from jaxcnn.inspect.stages import Pool, features, stages_of

__all__ = [
    "Neighbours",
    "PCA",
    "Pool",
    "Probe",
    "features",
    "neighbours",
    "pca",
    "probe",
    "stages_of",
    "write_report",
]
