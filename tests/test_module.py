"""LearnedCompose among torch's own machinery: hooks, default devices, views that only mark a change of sign."""

import pytest
import torch
import torchvision.transforms as v1
from helpers import seed_v2, to_pil
from torch import nn
from torchvision.transforms import v2

import learned_transforms as lt

IMAGE = torch.arange(3 * 32 * 32, dtype=torch.int64).reshape(3, 32, 32).remainder(251).to(torch.uint8)


def test_hooks_of_the_module_are_called():
    pipeline, seen = lt.LearnedCompose(seed_v2()), []
    pipeline(IMAGE)
    handles = [
        pipeline.register_forward_pre_hook(lambda module, inputs: seen.append("before")),
        pipeline.register_forward_hook(lambda module, inputs, made: seen.append("after")),
    ]
    pipeline(IMAGE)
    assert seen == ["before", "after"]
    for handle in handles:
        handle.remove()
    pipeline(IMAGE)
    assert seen == ["before", "after"]


def test_backward_hooks_are_called():
    pipeline, seen = lt.LearnedCompose([v2.Resize((8, 8))]), []
    pipeline.register_full_backward_hook(lambda module, before, after: seen.append(module))
    pipeline(IMAGE.float().requires_grad_()).sum().backward()
    assert seen == [pipeline]


def test_global_hooks_are_called():
    pipeline, seen = lt.LearnedCompose(seed_v2()), []
    pipeline(IMAGE)
    with nn.modules.module.register_module_forward_hook(lambda module, inputs, made: seen.append(module)):
        pipeline(IMAGE)
    assert pipeline in seen


@pytest.mark.parametrize("image", [IMAGE, to_pil(IMAGE)], ids=["tensor", "pil"])
def test_a_default_device_moves_no_image(image):
    steps = [v1.Resize((9, 9)), *([] if isinstance(image, torch.Tensor) else [v1.ToTensor()])]
    pipeline = lt.LearnedCompose(steps)
    expected = pipeline(image)
    with torch.device("meta"):
        assert pipeline(image).equal(expected)
        assert lt.LearnedCompose(steps)(image).equal(expected)


def test_views_of_another_sign():
    lazy = torch.complex(torch.zeros(3, 32, 32), torch.rand(3, 32, 32)).conj().imag
    assert lazy.is_neg()
    resize = v2.Resize((8, 8))
    assert lt.LearnedCompose([resize])(lazy).equal(lt.LearnedCompose([resize])(lazy.resolve_neg()))
