"""Searches in processes of their own: killed, and shared by a chief and two workers."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

pytest.importorskip("keraslip.tuning", exc_type=ImportError)

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def start(out, printed, *options, **variables):
    """`keraslip tune` on a few digits; what it prints goes to a file."""
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend(), **variables}
    words = ["tune", "--application", "digits_2c2f", "--space", "width=0.1", "--batch-size", "20"]
    with printed.open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.cli.few_digits", *words, "--out", str(out), *options],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def wait_for(condition, *processes):
    while not condition():
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


def test_a_killed_search_looks_unfinished_and_goes_on(tmp_path):
    out, printed = tmp_path / "search", tmp_path / "printed"
    process = start(out, printed, "--trials", "3", "--epochs", "1")
    try:
        wait_for((out / "trials" / "trial_1").exists, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert sorted(file.name for file in out.iterdir()) == ["search.json", "trials"]
    assert not json.loads((out / "search.json").read_text())["complete"]
    process = start(out, printed, "--resume")
    assert process.wait() == 0, printed.read_text()
    assert json.loads((out / "search.json").read_text())["complete"]
    assert printed.read_text().count("epoch 1/1") == 2


def test_a_chief_and_two_workers_share_a_search(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    out = tmp_path / "search"

    def begin(name):
        options = ["--trials", "4", "--epochs", "1"]
        return start(out, tmp_path / name, *options, **address, KERASTUNER_TUNER_ID=name)

    processes = {"chief": begin("chief")}
    try:
        wait_for((out / "search.json").exists, processes["chief"])
        processes |= {name: begin(name) for name in ("worker0", "worker1")}
        for name, process in processes.items():
            assert process.wait(timeout=600) == 0, (tmp_path / name).read_text()
    finally:
        for process in processes.values():
            process.kill()
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert len(rows) == 4 and {row["status"] for row in rows} == {"COMPLETED"}
    assert json.loads((out / "search.json").read_text())["complete"]
    trained = [(tmp_path / name).read_text().count("epoch 1/1") for name in processes]
    assert trained[0] == 0 and min(trained[1:]) >= 1 and sum(trained) == 4
