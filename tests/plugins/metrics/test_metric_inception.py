"""Inception as the feature space: the network of torch-fidelity, bit for bit, with weights that the user has.

The published weights are not here, so that the network's are drawn at random: what is proved is that hers is asked, of the right
pictures, and that the distances are those of torchmetrics and torch-fidelity.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
import torch
from cdkit.parts import DataError, Dataset
from cdkit_metrics.frechet import Frechet
from cdkit_metrics.inception import Inception, inception, levels
from cdkit_metrics.kernel_distance import KernelDistance
from cdkit_metrics.prdc import Prdc
from safetensors.torch import save_file

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def theirs() -> ModuleType:
    pytest.importorskip("torch_fidelity", reason="the extra `fidelity` is not installed")
    from importlib import import_module

    return import_module("torch_fidelity.feature_extractor_inceptionv3")


@pytest.fixture(scope="module")
def weights(theirs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights at random: torch-fidelity's network as it is made, before it is given any."""
    path = tmp_path_factory.mktemp("weights") / "inception.safetensors"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(theirs, "load_state_dict_from_url", lambda *_args, **_options: {})
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        save_file(theirs.FeatureExtractorInceptionV3("random", ["2048"]).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def ours(weights: Path) -> Inception:
    return inception(str(weights), CPU)


def test_features_are_those_of_torch_fidelity(ours: Inception, theirs: ModuleType, weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(weights), tmp_path / "weights.pth")
    network = theirs.FeatureExtractorInceptionV3("theirs", ["2048"], feature_extractor_weights_path=str(tmp_path / "weights.pth"))
    images = torch.rand(3, 3, 20, 20, generator=torch.Generator().manual_seed(1)) * 2 - 1
    expected = network(((images + 1) * 127.5).round().to(torch.uint8))[0]
    found = ours.features(images)
    assert found.shape == (3, 2048)
    assert found.dtype == torch.float64
    assert torch.equal(found, expected.double())
    assert not torch.equal(found[0], found[1])


def test_grey_is_grey_and_beyond_the_range_is_its_end() -> None:
    found = levels(torch.tensor([[[[-1.0, 1.0], [0.0, 3.0]]]]))
    assert found.shape == (1, 3, 2, 2)
    assert found[0, 2].tolist() == [[0, 255], [128, 255]]


@pytest.mark.slow
def test_a_distance_is_that_of_torchmetrics(ours: Inception) -> None:
    from cdkit_metrics.frechet import frechet_distance

    fid: Any = pytest.importorskip("torchmetrics.image.fid", reason="torchmetrics is not installed")
    draws = torch.Generator().manual_seed(2)
    one, other = torch.rand(6, 1, 8, 8, generator=draws) * 2 - 1, torch.rand(6, 1, 8, 8, generator=draws)
    metric = fid.FrechetInceptionDistance(feature=ours_of_images(ours), normalize=False, input_img_size=(3, 8, 8))
    metric.update(levels(one), real=True)
    metric.update(levels(other), real=False)
    expected = float(metric.compute())
    assert float(frechet_distance(ours.features(one), ours.features(other))) == pytest.approx(expected, rel=1e-3)


def ours_of_images(ours: Inception) -> torch.nn.Module:
    """Our features as torchmetrics wants a network of one's own: levels in, features out."""

    class Asked(torch.nn.Module):
        num_features = 2048

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return cast("torch.Tensor", ours.network(pictures)[0])

    return Asked()


SHARED = [Frechet, pytest.param(KernelDistance, marks=pytest.mark.slow), pytest.param(Prdc, marks=pytest.mark.slow)]


@pytest.mark.slow
@pytest.mark.parametrize("metric", SHARED)
def test_it_is_asked_instead_of_our_evaluator(
    metric: type[Any], weights: Path, digits: Dataset, stub: Any, real: Any, tmp_path: Path
) -> None:
    examinee = stub(digits, tmp_path, draws=real(digits.split("validation"), digits.classes))
    options: dict[str, Any] = {"pictures": 8, "cuts": 1, "inception": str(weights)}
    result = metric(**options, **({"neighbours": 1} if metric is Prdc else {}))(examinee)
    assert result["evaluator"]["network"] == "inception"
    assert len(result["evaluator"]["sha256"]) == 64
    assert not any(tmp_path.iterdir()), "no evaluator was taught"


def test_what_is_no_such_file_is_refused(theirs: ModuleType, tmp_path: Path) -> None:
    del theirs
    (tmp_path / "weights.pth").write_bytes(b"a pickle")
    for path in ("nowhere.safetensors", str(tmp_path / "weights.pth")):
        with pytest.raises(DataError, match=r"expected Inception's weights as a \.safetensors file") as caught:
            inception(path, CPU)
        assert "save_file" in caught.value.hint
    save_file({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"other\.safetensors: not Inception's weights"):
        inception(str(tmp_path / "other.safetensors"), CPU)
