"""Searches with keras-tuner's own classes: the three of them, resumed, failed, refused."""

import json

import pytest

from tests.tuning.nets import THEIR_WARNINGS, UNCOMPILED, few, searches_alone, tiny

tuning = pytest.importorskip("keraslip.tuning", exc_type=ImportError)
import keras_tuner  # noqa: E402

pytestmark = THEIR_WARNINGS


class Watched(tuning.LipschitzHyperModel):
    """Notes where each trial begins."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.begun = []

    def fit(self, hp, model, *args, **kwargs):
        self.begun.append((int(model.optimizer.iterations), kwargs.get("initial_epoch", 0)))
        return super().fit(hp, model, *args, **kwargs)


class Pretended(tuning.LipschitzHyperModel):
    """Trains nothing; `stop` is called with the number of trials before."""

    def __init__(self, stop=lambda trained: None, epsilon=0.25):
        super().__init__(tiny, epsilon, seed=0)
        self.stop, self.trained = stop, 0

    def fit(self, hp, model, *args, **kwargs):
        self.stop(self.trained)
        self.trained += 1
        return {"val_accuracy": 0.75, "val_certified_accuracy": hp.get("threshold") / 10}


def make(kind, hypermodel, folder, **options):
    return kind(
        hypermodel, tuning.certified_objective(), directory=str(folder), project_name="s", **options
    )


@pytest.mark.parametrize(
    "kind, options",
    [
        pytest.param(keras_tuner.RandomSearch, {"max_trials": 2}, id="random"),
        pytest.param(
            keras_tuner.BayesianOptimization,
            {"max_trials": 3, "num_initial_points": 2},
            marks=searches_alone,
            id="bayesian",
        ),
        pytest.param(
            keras_tuner.Hyperband,
            {"max_epochs": 2, "factor": 2},
            marks=searches_alone,
            id="hyperband",
        ),
    ],
)
def test_every_trial_completes(kind, options, tmp_path):
    hypermodel = Watched(tiny, 0.25, **UNCOMPILED)
    tuner = make(kind, hypermodel, tmp_path, seed=3, **options)
    if kind is keras_tuner.Hyperband:
        tuner.oracle.max_trials = 3  # two of one epoch, the better one goes on to the second
    tuner.search(**few(), epochs=1)
    rows = tuning.trial_rows(tuner)  # a warning, hence an error, if a trial is lost
    assert len(rows) == options.get("max_trials", 3) == len(hypermodel.begun)
    for row in rows:
        assert row["status"] == "COMPLETED" and row["guarantee"] == "estimate"
        assert 0 <= row["certified_accuracy"] <= row["clean_accuracy"] <= 1
        assert row["epsilon"] == 0.25 and type(row["threshold"]) is float
    if kind is keras_tuner.Hyperband:
        steps_an_epoch = 2
        assert hypermodel.begun == [(0, 0)] * 2 + [(steps_an_epoch, 1)]
        assert [row["epochs"] for row in sorted(rows, key=lambda r: r["trial"])] == [1, 1, 2]
    best = tuner.load_model(tuner.oracle.get_trial(rows[0]["trial"]))
    x, y = few()["validation_data"]
    found = best.evaluate(x, y, return_dict=True, verbose=0)
    assert found["accuracy"] == pytest.approx(rows[0]["clean_accuracy"])


@searches_alone
def test_a_stopped_search_goes_on_with_the_same_trial(tmp_path, capsys):
    def stop(trained):
        if trained == 1:
            raise KeyboardInterrupt

    stopped = make(keras_tuner.RandomSearch, Pretended(stop), tmp_path, max_trials=3)
    with pytest.raises(KeyboardInterrupt):
        stopped.search(**few(), epochs=1)
    with pytest.warns(UserWarning, match="1 of 2 trials did not complete: 1 RUNNING"):
        before = {row["trial"]: row for row in tuning.trial_rows(tmp_path / "s")}
    hypermodel = Pretended()
    resumed = make(keras_tuner.RandomSearch, hypermodel, tmp_path, max_trials=3)
    resumed.search(**few(), epochs=1)
    assert hypermodel.trained == 2
    after = {row["trial"]: row for row in tuning.trial_rows(tmp_path / "s")}
    assert sorted(after) == ["0", "1", "2"]
    assert after["0"] == {**before["0"], "pareto": after["0"]["pareto"]}
    assert after["1"]["threshold"] == before["1"]["threshold"]
    assert "Reloading" in capsys.readouterr().out

    other = make(keras_tuner.RandomSearch, Pretended(epsilon=0.5), tmp_path, max_trials=4)
    with pytest.raises(ValueError, match="another radius.*epsilon=0.5, the search has 0.25"):
        other.search(**few(), epochs=1)


@searches_alone
def test_failed_trials_are_told_with_their_reason(tmp_path):
    def stop(trained):
        if not stop.done:
            stop.done = True
            raise RuntimeError("out of luck")

    stop.done = False
    tuner = make(keras_tuner.RandomSearch, Pretended(stop), tmp_path, max_trials=2)
    tuner.search(**few(), epochs=1)
    with pytest.warns(UserWarning, match="1 of 2 trials .* 0 FAILED: RuntimeError: out of luck"):
        rows = tuning.write_results(tmp_path / "s", tmp_path / "out")
    assert [row["trial"] for row in rows] == ["1", "0"]
    assert rows[1]["certified_accuracy"] is None and not rows[1]["pareto"] and rows[0]["pareto"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "pareto.png",
        "results.csv",
        "results.json",
    ]
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == rows
    lines = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert len(lines) == 3 and lines[0].startswith("trial,status,clean_accuracy,certified_accuracy")


@searches_alone
def test_a_search_without_validation_data_is_refused(tmp_path):
    tuner = make(keras_tuner.RandomSearch, Watched(tiny, 0.25), tmp_path, max_trials=1)
    arguments = {**few(), "validation_data": None}
    with pytest.raises(ValueError, match="validation_data=.*Received: no validation_data"):
        tuner.search(**arguments, epochs=1)


@searches_alone
def test_a_folder_without_trials_and_a_file_cut_off_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="Received: "):
        tuning.trial_rows(tmp_path)
    (tmp_path / "trial_0").mkdir()
    (tmp_path / "trial_0" / "trial.json").write_text('{"trial_id": "0", "hyper')
    with pytest.raises(ValueError, match="not written to the end.*trial_0"):
        tuning.trial_rows(tmp_path)
