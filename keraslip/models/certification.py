"""What a model says about its certificates; the work is done in `keraslip.certify`."""

from typing import TYPE_CHECKING, Any

import numpy as np

from keraslip.checks import check_radii

if TYPE_CHECKING:
    from keraslip.certify import Certificates


class Certification:
    """Mixin of `LocalLipschitzModel` with the methods that certify."""

    def certify(
        self,
        x: Any,
        y: Any = None,
        epsilon: Any = None,
        guarantee: str = "proved",
        arithmetic: str = "float32",
        effort: str = "full",
        conv: str = "auto",
        radius: bool = False,
        delta: float = 1e-9,
        workers: int | None = None,
        batch_size: int = 256,
        verbose: bool | str = "auto",
        resume: "Certificates | None" = None,
        steps: int | None = None,
    ) -> "Certificates":
        """Certifies that no perturbation of L2 size up to epsilon changes the label.

        Cheap bounds come first, more expensive ones only for the samples that are still open. Ctrl-C
        returns what is done by then. A certificate holds for all real inputs in the ball, not only for
        valid images.

        Args:
            x: Inputs `(n, *shape)`, or a stream of batches (`tf.data.Dataset`, `PyDataset`, `DataLoader`,
                generator) of `x`, `(x, y)` or `(x, y, sample_weight)`.
            y: Labels: class indices `(n,)` or one-hot; those predicted if `None`. A wrong prediction is
                never certified.
            epsilon: L2 radius in raw input units, one for all or one for each sample; the compiled one if
                `None`. 0 is allowed.
            guarantee: `"proved"`: a deterministic bound, rounding accounted for. `"probabilistic"`: true
                with probability 1 - delta for each sample. `"estimate"`: by power iteration, no promise:
                nothing is certified, see `Certificates.estimated`.
            arithmetic: `"float32"`: about the network as executed. `"float64"`: about the ideal one.
            effort: `"full"`, or `"frozen"`: global norms and anchored slopes only, as an exported graph.
            conv: Norms of convolutions over varying units: `"auto"` where they can settle a sample,
                `"local"` for every open sample, `"global"` never.
            radius: Also find the certified radius of every sample.
            delta: Allowed probability of a wrong certificate, for each sample, if probabilistic.
            workers: Samples worked on at once; the number of cores if `None`.
            batch_size: Samples in a pass.
            verbose: Whether to show a progress bar; `"auto"` shows one on a terminal.
            resume: Certificates of an interrupted run over the same data.
            steps: Batches to read of a stream, at most; all if `None`. A generator without end does not say
                that it has none: it is read until Ctrl-C.

        Returns:
            `keraslip.Certificates`.

        Raises:
            ValueError: for bad inputs, labels, epsilon or options, weights that are not finite, reduced
                precision, and a folder of `KERASLIP_VIOLATIONS` that cannot be written.
            NotImplementedError: at a layer that no certificate can pass.
            CertificateViolation: if anything contradicts a certificate; the example is saved, and in the
                error's `example`.
            RuntimeError: if the weights change meanwhile.

        Example:

        ```python
        certificates = model.certify(x_test, y_test, epsilon=0.25)
        print(certificates)
        certificates.certified_accuracy(y_test)
        ```

        Reference:

        - Huang et al., 2021, arXiv 2111.01395 (the local bound); Rump, 2006, BIT 46 (proved norms).
        """
        from keraslip.certify.run.certifier import certify
        from keraslip.certify.run.estimated import estimated
        from keraslip.certify.run.settings import Settings

        radii = self._radii(epsilon)
        settings = Settings(guarantee, arithmetic, effort, conv, radius, delta, workers, batch_size)
        if guarantee == "estimate":
            return estimated(self, x, y, radii, settings, steps)
        return certify(self, x, y, radii, settings, verbose, resume, steps)

    def local_lipschitz(
        self,
        x: Any,
        epsilon: Any = None,
        guarantee: str = "proved",
        batch_size: int = 256,
        steps: int | None = None,
    ) -> np.ndarray:
        """Upper bound of the Lipschitz constant of the logits on the ball around each input.

        It bounds `||f(x') - f(x'')|| / ||x' - x''||` for any two points of the ball, in real arithmetic.

        Args:
            x: Inputs `(n, *shape)`, or a stream of batches.
            epsilon: L2 radius in raw input units, one for all or one for each; the compiled one if `None`.
            guarantee: `"proved"`, `"probabilistic"` (delta 1e-9) or `"estimate"`.
            batch_size: Samples in a pass.
            steps: Batches to read of a stream, at most; all if `None`.

        Returns:
            Array `(n,)`, float64.

        Raises:
            ValueError: for bad inputs or options.

        Example:

        ```python
        model.local_lipschitz(x_test[:10], epsilon=0.25)
        ```
        """
        from keraslip.certify.run.lipschitz import local_lipschitz

        return local_lipschitz(self, x, self._radii(epsilon), guarantee, batch_size, steps)

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        overwrite: bool = False,
        **kwargs: Any,
    ) -> None:
        """Writes the model with its certificate inside: it answers without Keras and keraslip.

        The artefact has `serve(x) -> logits` and `certify(x, epsilon) -> label, certified, margin,
        lipschitz`, with a dynamic batch size. Its certificates are those of `certify(effort="frozen")`:
        proved global norms, frozen in the file, and anchored slopes, in float64. NaN in x and a negative
        epsilon give `certified = false`. It is checked before it is kept.

        Args:
            filepath: Folder of the artefact.
            format: `"tf_saved_model"` or `"onnx"`; other formats are Keras' own, without a certificate.
            verbose: Whether to say what happens; yes by default.
            overwrite: Whether to replace an artefact that is there, once the new one is checked.
            **kwargs: Arguments of `keras.Model.export` for other formats.

        Raises:
            ValueError: for a model that cannot be certified, one in reduced precision for example.
            TypeError: for arguments that the format does not take.
            FileExistsError: if something is there already; with `overwrite`, if it is no artefact.
            ImportError: if TensorFlow, or what ONNX needs, is missing; the message names it.
            RuntimeError: if the artefact does not answer as the model does.

        Example:

        ```python
        model.export("served")
        served = tf.saved_model.load("served")
        served.certify(images, 0.25)["certified"]
        ```
        """
        from keraslip.export import FORMATS, export_model

        if format not in FORMATS:
            super().export(filepath, format=format, verbose=verbose, **kwargs)  # type: ignore[misc]
            return
        if kwargs:
            raise TypeError(
                f"Export to {format} takes filepath, format, verbose and overwrite. "
                f"Received: {', '.join(kwargs)}"
            )
        epsilon = float(self._radii(None)) if self.compiled else 0.0  # type: ignore[attr-defined]
        export_model(self, filepath, format, epsilon, verbose is not False, overwrite)

    def _radii(self: Any, epsilon: Any) -> np.ndarray:
        return np.asarray(self._epsilon(None)) if epsilon is None else check_radii(epsilon)
