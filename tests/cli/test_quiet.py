"""The log lines of C++ stay off the terminal; all else that is written on standard error does not."""

import os

from keraslip.cli.quiet import log_lines_dropped

LOGS = b"""WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795889745.096378   11820 port.cc:153] oneDNN custom operations are on.
W0000 00:00:1795889745.1   11820 computation_placer.cc:177] computation placer already registered.
E0000 00:00:1795889758.242644   11820 cuda_platform.cc:52] failed call to cuInit: INTERNAL
2026-11-28 18:14:14.123456: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.
"""
WORDS = b"F0000 00:00:1795889745.1 11820 a.cc:1] fatal\nImportError: no such library\n"


def test_only_log_lines_are_dropped(capfd):
    with log_lines_dropped():
        os.write(2, LOGS + WORDS)
    assert capfd.readouterr().err.encode() == WORDS
