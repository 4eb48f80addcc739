"""Where linear maps were before: `keraslip.linear`."""

from keraslip.linear import *  # noqa: F403
