"""TensorBoard's event files, written with the `tensorboard` package alone: the same on every backend."""

import itertools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_NUMBERS = itertools.count()


class EventFile:
    """One event file; it is open only while something is written, so nothing is lost when a run is stopped.

    TensorFlow is neither needed nor imported.

    Args:
        folder: The folder TensorBoard shows as a run; made if it is missing.
        step: The first step that will be written. What older files in the folder say of this step and
            later ones is no longer shown.

    Raises:
        ImportError: if the `tensorboard` package is missing.
    """

    def __init__(self, folder: Path, step: int) -> None:
        require_tensorboard()
        from tensorboard.compat.proto import event_pb2

        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{time.time():.0f}.{next(_NUMBERS):04d}.{os.getpid()}.keraslip"
        self.path = folder / name
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._append(
            event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"),
            event_pb2.Event(wall_time=time.time(), step=step, session_log=start),
        )

    def write(
        self, step: int, scalars: Mapping[str, float], histograms: Mapping[str, np.ndarray]
    ) -> None:
        """Appends the figures of a step.

        Args:
            step: Its number.
            scalars: One number for each tag.
            histograms: An array of finite numbers for each tag.
        """
        from tensorboard.compat.proto import event_pb2
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        summaries = [scalar_pb(tag, value) for tag, value in scalars.items()]
        summaries += [histogram_pb(tag, values) for tag, values in histograms.items()]
        now = time.time()
        self._append(*(event_pb2.Event(wall_time=now, step=step, summary=s) for s in summaries))

    def _append(self, *events: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        with self.path.open("ab") as file:
            writer = RecordWriter(file)
            for event in events:
                writer.write(event.SerializeToString())


def require_tensorboard() -> None:
    """Raises where TensorBoard's event files cannot be written.

    Raises:
        ImportError: if the `tensorboard` package is missing.
    """
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'TensorBoard\'s files need its package: pip install "keraslip[tensorboard]", or write the '
            "CSV file alone: LipschitzMonitor(..., tensorboard=False)."
        ) from error
