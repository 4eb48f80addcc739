"""The `keraslip` command."""

import sys


def main() -> None:
    """Runs the command; errors a user can mend are one line, not a traceback."""
    from rich.console import Console

    from keraslip.certify import CertificateViolation
    from keraslip.cli.app import app

    try:
        app(prog_name="keraslip")
    except (ValueError, OSError, ImportError, NotImplementedError, CertificateViolation) as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {_plain(error)}")
        sys.exit(1 if isinstance(error, CertificateViolation) else 2)


def _plain(error: Exception) -> str:
    from rich.markup import escape

    return escape(" ".join(str(error).split()) or type(error).__name__)
