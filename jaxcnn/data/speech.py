"""Spoken digits as log-mel features."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxcnn.data.dataset import Dataset
from jaxcnn.data.listing import is_seen

DIGITS = tuple("0123456789")
RATE = 8000  # samples a second
FRAMES, BANDS = 100, 40  # of 10 ms; of the mel scale
_WINDOW, _HOP, _FFT = 200, 80, 256
_RANGE = 80.0  # dB below the loudest band of a recording; what is softer counts as silence
_TEST_TAKES = range(5)  # the customary test split


def read_fsdd(split: str, folder: Path, speaker: str | None = None) -> Dataset:
    """Reads the Free Spoken Digit Dataset.

    Six speakers say each of ten digits fifty times.

    Args:
      split: `"train"`, or `"test"`: the takes 0 to 4 of every digit and speaker.
      folder: a folder with `recordings/` or `fsdd.tar.gz`.
      speaker: the test split has all takes of this speaker, the training split those of all others.

    Returns:
      Features `(N, 100, 40)`, one second of log-mel bands in dB, silence where a recording is shorter.

    Raises:
      FileNotFoundError: if the folder has no recordings.
      ValueError: if a recording is damaged or misnamed, or the speaker is unknown.
    """
    features, labels, speakers = [], [], set()
    for name, content in _recordings(folder):
        digit, who, take = _parse(name)
        speakers.add(who)
        tested = take in _TEST_TAKES if speaker is None else who == speaker
        if tested == (split == "test"):
            features.append(log_mel(*_samples(name, content)))
            labels.append(digit)
    if speakers and speaker not in (None, *speakers):
        raise ValueError(f"`speaker` must be one of {', '.join(sorted(speakers))}; got {speaker!r}.")
    if not features:
        raise FileNotFoundError(f"{folder} must hold recordings of the {split} split; it holds none.")
    return Dataset(np.stack(features), np.array(labels, np.int32), DIGITS, "fsdd", split)


def log_mel(samples: np.ndarray, rate: int) -> np.ndarray:
    """Computes one second of log-mel bands.

    Hann windows of 25 ms, every 10 ms; bands from 60 Hz to 4 kHz. Longer recordings are cut.

    Args:
      samples: `(T,)` float.
      rate: samples per second.

    Returns:
      `(100, 40)` float32, in dB relative to the loudest value of the recording.

    Raises:
      ModuleNotFoundError: if librosa is not installed.
    """
    try:
        import librosa
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "`librosa` is needed to read sounds; install it with: pip install 'jaxcnn[audio]'."
        ) from None
    samples = librosa.resample(samples, orig_sr=rate, target_sr=RATE) if rate != RATE else samples
    energy = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=_FFT, win_length=_WINDOW, hop_length=_HOP, n_mels=BANDS, fmin=60.0
    )
    decibels = librosa.power_to_db(energy, ref=np.max, top_db=_RANGE).T[:FRAMES].astype(np.float32)
    return np.pad(decibels, ((0, FRAMES - len(decibels)), (0, 0)), constant_values=-_RANGE)


def _recordings(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The names and contents of the recordings, sorted by name."""
    if (folder / "recordings").is_dir():
        for path in sorted((folder / "recordings").glob("*.wav")):
            if is_seen(path.name):
                yield path.name, path.read_bytes()
        return
    if not (folder / "fsdd.tar.gz").is_file():
        raise FileNotFoundError(f"{folder} must hold recordings/ or fsdd.tar.gz; it holds neither.")
    try:
        contents = {}
        with tarfile.open(folder / "fsdd.tar.gz") as archive:
            for member in archive:  # in the archive's order: going back would unpack it all again
                meant = member.name.endswith(".wav") and all(map(is_seen, Path(member.name).parts))
                file = archive.extractfile(member) if meant else None
                if file is not None:
                    contents[Path(member.name).name] = file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{folder / 'fsdd.tar.gz'} must be a whole archive; reading it failed: {error}.") from None
    yield from sorted(contents.items())


def _parse(name: str) -> tuple[int, str, int]:
    """The digit, speaker and take in a file name."""
    parts = Path(name).stem.split("_")
    if len(parts) != 3 or parts[0] not in DIGITS or not parts[2].isdigit():
        raise ValueError(f"recordings must be named DIGIT_SPEAKER_TAKE.wav; got {name!r}.")
    return int(parts[0]), parts[1], int(parts[2])


def _samples(name: str, content: bytes) -> tuple[np.ndarray, int]:
    from scipy.io import wavfile

    try:
        rate, samples = wavfile.read(io.BytesIO(content))
    except Exception as error:  # scipy lets struct's and its own errors out
        raise ValueError(f"{name} must be a whole WAV file; reading it failed: {error}.") from None
    if samples.size == 0:
        raise ValueError(f"{name} must hold samples; got none.")
    peak = np.iinfo(samples.dtype).max if np.issubdtype(samples.dtype, np.integer) else 1.0
    mono = samples if samples.ndim == 1 else samples.mean(1)
    return (mono / peak).astype(np.float32), rate
