"""The report as one HTML page that needs no network: of one run, or of several side by side."""

from keraslip.cli.page.document import page as page
from keraslip.cli.page.run import Run as Run
from keraslip.cli.page.run import load_runs as load_runs
