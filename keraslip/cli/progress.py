"""Progress of a training run on the terminal: one bar, or a line for each epoch in a log file."""

from typing import Any

import keras
from rich.console import Console

from keraslip.cli.stopping import stop_if_heard
from keraslip.progress import Bar


class EpochBar(keras.callbacks.Callback):
    """A bar over all steps of a run, with the latest losses and accuracies.

    Where the console is no terminal a line is printed for each epoch.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console
        self.bar = Bar("training", console)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.bar.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        steps, epochs = self.params["steps"], self.params["epochs"]
        self.bar.show(
            total=steps * epochs, completed=steps * epoch, count=f"epoch {epoch + 1}/{epochs}"
        )

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.bar.advance(self.bar.task)
        stop_if_heard()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        text = _summary(logs or {})
        self.bar.show(words=text)
        if not self.console.is_terminal:
            self.console.print(f"epoch {epoch + 1}/{self.params['epochs']}: {text}", soft_wrap=True)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the bar; also after Ctrl-C."""
        self.bar.stop()


def _summary(logs: dict[str, Any]) -> str:
    prefix = "val_" if "val_loss" in logs else ""
    clean, certified = logs.get(f"{prefix}accuracy"), logs.get(f"{prefix}certified_accuracy")
    parts = [f"loss {logs.get('loss', float('nan')):.3f}", f"epsilon {logs.get('epsilon', 0):.3f}"]
    if clean is not None and certified is not None:
        part = "validation" if prefix else "training"
        parts.append(f"{part}: clean {clean:.1%}, certified (estimate) {certified:.1%}")
    return ", ".join(parts)
