"""TensorBoard's event files, written by the `tensorboard` package: the same on every backend."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class EventFile:
    """One event file; what `write` was given is on the disk when it returns, however a run is stopped.

    TensorFlow is not needed, the `tensorboard` package is. What older files in the folder, which is one run
    of TensorBoard's, say of the first step and later ones is no longer shown.
    """

    def __init__(self, folder: Path, step: int) -> None:
        require_tensorboard()
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder), filename_suffix=".keraslip")
        self._add(step, session_log=SessionLog(status=SessionLog.START))

    def write(
        self, step: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]
    ) -> None:
        """Appends the figures of a step: numbers, and arrays of finite numbers, by their tags."""
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        for tag, value in scalars.items():
            self._add(step, summary=scalar_pb(tag, value))
        for tag, values in histograms.items():
            self._add(step, summary=histogram_pb(tag, values))
        self._writer.flush()

    def close(self) -> None:
        """Ends the thread that writes."""
        self._writer.close()

    def _add(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, **content))


def require_tensorboard() -> None:
    """Raises an ImportError where TensorBoard's event files cannot be written."""
    try:
        import tensorboard.summary.writer.event_file_writer  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'TensorBoard\'s files need its package: pip install "keraslip[tensorboard]", or write the '
            "CSV file alone: LipschitzMonitor(..., tensorboard=False)."
        ) from error
