"""tracker: what the journal writes, told to TensorBoard, Weights & Biases, MLflow … through Accelerate's trackers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeAlias

from cdkit.hooks import Trial, hookimpl
from cdkit.parts import Callback, EnvironmentFault

Place: TypeAlias = Literal["tensorboard", "wandb", "mlflow", "comet_ml", "aim", "clearml", "dvclive", "swanlab", "trackio"]
PACKAGES: Mapping[Place, str] = {"comet_ml": "comet-ml"}
FOLDERS = ("tensorboard", "aim")  # those that keep their files where they are told to


@dataclass(frozen=True, kw_only=True)
class Tracker(Callback):
    """Tells a tracker of every logged step. It may go out to the network, as the tracker that is named does.

    to: which; its package is installed by whoever wants it. project: the name that runs are gathered under. The run's
    folder names the run, and holds the files of a tracker that keeps its files where it is told to.
    """

    to: Place
    project: str = "cdkit"
    _open: list[Any] = field(default_factory=list[Any], init=False, repr=False, compare=False)

    def began(self, run: Path, step: int, steps: int) -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        check_there(self.to)
        kind: Any = LOGGER_TYPE_TO_CLASS[self.to]  # each takes what it needs
        tracker = kind(self.project, run / "trackers") if self.to in FOLDERS else kind(self.project)
        if hasattr(tracker, "start"):
            tracker.start()
        tracker.store_init_configuration({"run": run.name, "steps": steps, "from": step})
        self._open.append(tracker)

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        self._open[-1].log(dict(values), step=step)

    def ended(self, step: int) -> None:
        del step
        self._open.pop().finish()


def check_there(place: Place) -> None:
    """EnvironmentFault that names the package where it is not installed."""
    package = PACKAGES.get(place, place)
    try:
        version(package)
    except PackageNotFoundError:
        raise EnvironmentFault(f"tracker {place} needs a package that is not installed", hint=f"pip install {package}") from None


@hookimpl
def cdkit_callback() -> type[Tracker]:
    return Tracker


@hookimpl
def cdkit_trial() -> Trial:
    return Trial({"to": "tensorboard"})
