"""`python -m keraslip` is the `keraslip` command."""

from keraslip.cli import main

main()
