"""The `keraslip` command."""

import sys

#: What a user can mend.
_MENDABLE = (ValueError, OSError, ImportError, NotImplementedError)


def main() -> None:
    """Runs the command; errors a user can mend are one line, not a traceback, and so is Ctrl-C."""
    from keraslip.cli.stopping import listening

    with listening():
        _run()


def _run() -> None:
    from keraslip.cli.app import app
    from keraslip.cli.quiet import hush

    hush()
    try:
        app(prog_name="keraslip")
    except Exception as error:
        from keraslip.certify import CertificateViolation

        violated = isinstance(error, CertificateViolation)
        if not violated and not isinstance(error, _MENDABLE):
            raise
        _print(error)
        sys.exit(1 if violated else 2)


def _print(error: Exception) -> None:
    from rich.console import Console
    from rich.markup import escape

    text = escape(" ".join(str(error).split()) or type(error).__name__)
    Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {text}")
