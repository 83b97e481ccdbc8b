"""Tiers, bounds and figures of certificates."""

import math
from dataclasses import replace

import pytest
import torch

import learned_transforms as lt
from learned_transforms.certificate import TIERS, Certificate, measure, reference, ssim
from learned_transforms.errors import DataError, InputShapeError, WeightsError


def images(n=20, dtype=torch.uint8):
    made = torch.randint(0, 250, (n, 3, 16, 16), dtype=torch.uint8)
    return made if dtype == torch.uint8 else made.float() / 255


def off_by(change, where=(0, 0, 0, 0), dtype=torch.uint8, group="photos"):
    target = images(dtype=dtype)
    output = target.clone()
    output[where] += change
    return measure([(group, output, target)])


def test_exact_and_proved():
    same = images()
    certificate = measure([("photos", same, same.clone())])
    assert (certificate.tier, certificate.bound, certificate.psnr, certificate.equal) == ("exact", 0.15, math.inf, 1)
    assert certificate.ssim == pytest.approx(1)
    assert measure([("all", same, same.clone())], enumerated=True).tier == "proved"
    assert "20 images (95 %: fewer than 0.15 of images)" in str(certificate)


def test_one_value_decides():
    certificate = off_by(1)
    assert (certificate.tier, certificate.differing, certificate.largest, certificate.bound) == ("rounding", 1, 1, None)
    assert certificate.histogram == {"0": 20 * 768 - 1, "<= 1": 1, "<= 2": 0, "> 2": 0}
    assert off_by(2).tier == "approximate"
    assert off_by(2).histogram["<= 2"] == 1
    assert measure([("all", images() * 0, images() * 0 + 1)], enumerated=True).tier == "approximate"


def test_rounding_needs_99_percent_on_all_but_ties():
    same, ties = images(), images()
    assert off_by(1, (slice(None), 0, slice(0, 2))).tier == "approximate"
    assert off_by(1, (slice(None), 0, slice(0, 2)), group="checkerboards").tier == "approximate"
    assert measure([("photos", same, same), ("checkerboards", ties + 1, ties)]).tier == "rounding"
    assert measure([("photos", same, same), ("checkerboards", ties + 2, ties)]).tier == "approximate"


def test_floats_count_from_a_millionth():
    assert off_by(9e-7, dtype=torch.float32).tier == "exact"
    certificate = off_by(2e-6, dtype=torch.float32)
    assert certificate.tier == "rounding"
    assert certificate.largest == pytest.approx(255 * 2e-6, rel=0.05)
    assert off_by(float("nan"), dtype=torch.float32).tier == "approximate"


def test_worst_image_is_named():
    target = images(5)
    output = target.clone()
    output[3, 1, 2, 2] += 4
    certificate = measure([("photos", target, target), ("noise", output, target)])
    assert certificate.worst == "noise 3"
    assert certificate.groups["noise"].differing == 1
    assert certificate.groups["photos"].differing == 0


def test_psnr_and_ssim_against_their_definitions():
    target = torch.rand(1, 1, 9, 9, dtype=torch.float64) * 255
    output = target + 3
    assert measure([("a", output.float() / 255, target.float() / 255)]).psnr == pytest.approx(
        10 * math.log10(255**2 / 9), rel=1e-4
    )
    a, b = output[0, 0, :7, :7], target[0, 0, :7, :7]
    mean, variance = (lambda x: x.mean()), (lambda x: x.var(unbiased=False))
    covariance = ((a - a.mean()) * (b - b.mean())).mean()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (
        (2 * mean(a) * mean(b) + c1)
        * (2 * covariance + c2)
        / ((mean(a) ** 2 + mean(b) ** 2 + c1) * (variance(a) + variance(b) + c2))
    )
    assert float(ssim(output[..., :7, :7], target[..., :7, :7])) == pytest.approx(float(expected), rel=1e-9)


def test_json_round_trip():
    for certificate in (off_by(0), off_by(1)):
        assert Certificate.from_json(certificate.to_json()) == certificate
    with pytest.raises(WeightsError, match="tier"):
        Certificate.from_json({**off_by(0).to_json(), "tier": "perfect"})
    with pytest.raises(WeightsError, match="certificate"):
        Certificate.from_json({"tier": "exact"})


def test_bad_comparisons():
    with pytest.raises(DataError, match="at least one image"):
        measure([])
    with pytest.raises(InputShapeError, match="one shape and dtype"):
        measure([("a", images(), images().float())])


def test_what_was_measured_elsewhere_is_told():
    here = measure([("photos", images(), images())], kind="uint8")
    assert here.measured_elsewhere() is None

    def told(**changed):
        return replace(here, reference={**here.reference, **changed}).measured_elsewhere()

    assert told(torch=here.reference["torch"].partition("+")[0] + "+cpu") is None
    assert told(torch="1.0.0+cu100", cpu_capability="AVX0") == "torch 1.0.0, AVX0"
    assert told(torchvision="0.1", machine="abacus") == "torchvision 0.1, abacus"
    assert (told(pillow="1"), told(pillow="1", input="pil")) == (None, "pillow 1")
    assert replace(here, reference={}).measured_elsewhere().startswith("torch unknown, torchvision unknown")


def test_explain_tells_what_was_measured_elsewhere():
    learned = lt.LearnedCompose.from_pretrained("cifar10_gray28")
    known = next(iter(learned.certificates.values())).reference

    def tiers(**changed):
        made = {k: replace(c, reference={**c.reference, **changed}) for k, c in learned.certificates.items()}
        learned.certificates = made
        return [row.tier for row in learned.explain("uint8").rows if row.tier != "-"]

    here = {**reference("uint8"), "input": known["input"]}
    assert all(tier in TIERS for tier in tiers(**here))
    assert all(tier.endswith(" (torch 1.0)") for tier in tiers(torch="1.0"))


@pytest.mark.parametrize("damaged", [None, [], "cpu", {"torch": 2}])
def test_a_damaged_reference_is_refused(damaged):
    plain = off_by(0).to_json()
    with pytest.raises(WeightsError, match="reference"):
        Certificate.from_json({**plain, "reference": damaged})
