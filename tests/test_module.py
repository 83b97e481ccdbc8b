"""LearnedCompose among torch's own machinery: hooks, default devices, views that only mark a change of sign."""

import copy
import pickle
import threading

import pytest
import torch
import torchvision.transforms as v1
from helpers import Pictures, seed_v2, to_pil
from test_compose import random_image
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.images.formats import form_of
from learned_transforms.kernels import cpu, stages
from learned_transforms.layers.given import Projecting

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


def test_module_contract():
    learned = lt.LearnedCompose(seed_v2())
    image = random_image((3, 32, 32))
    expected = learned(image)
    assert not list(learned.parameters())
    assert not learned.state_dict()
    for other in (copy.deepcopy(learned), pickle.loads(pickle.dumps(learned))):
        assert other(image).equal(expected)
    damaged = copy.deepcopy(learned)
    with torch.no_grad():
        damaged.layers["uint8/gray"].weight.mul_(0.5)
    damaged.relower()
    assert not damaged(image).equal(expected)
    assert pickle.loads(pickle.dumps(damaged))(image).equal(damaged(image))
    damaged.unfreeze(False).load_state_dict(copy.deepcopy(learned).unfreeze(False).state_dict())
    assert damaged(image).equal(expected)
    assert learned.eval()(image).equal(learned.train()(image))
    # Casting a model that holds the transform must not change its pixels.
    assert learned.half()(image).equal(expected)
    assert learned.to(torch.bfloat16)(image).equal(expected)
    assert "Resize(size=[28, 28]" in repr(learned)
    assert len(repr(learned).splitlines()) == len(seed_v2()) + 2


def test_unfreeze_trains_and_lowers_again():
    learned = lt.LearnedCompose(seed_v2())
    image = random_image((4, 3, 32, 32))
    exact = learned(image)
    learned.unfreeze()
    smooth = learned(image)
    assert smooth.dtype == torch.float32
    assert (smooth - exact).abs().max() < 2 / 255
    target = smooth.detach() * 0.5
    optimizer = torch.optim.SGD([p for p in learned.parameters() if p.requires_grad], lr=0.05)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = (learned(image) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] * 0.8
    learned.unfreeze(False)
    changed = learned(image)
    assert not changed.requires_grad
    assert not changed.equal(exact)


def test_gradient_with_respect_to_a_float_image():
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    lt.LearnedCompose(seed_v2())(image).sum().backward()
    other = image.detach().clone().requires_grad_()
    v2.Compose(seed_v2())(other).sum().backward()
    assert (image.grad - other.grad).abs().max() < 1e-5


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_in_dataloader_workers(context):
    loader = DataLoader(
        Pictures(lt.LearnedCompose(seed_v2())), batch_size=6, num_workers=2, multiprocessing_context=context
    )
    found = torch.cat(list(loader))
    expected = torch.stack([Pictures(v2.Compose(seed_v2()))[i] for i in range(24)])
    assert found.equal(expected)


def test_from_several_threads():
    learned = lt.LearnedCompose([v2.Resize((20, 20)), v2.Grayscale(3)])
    images = [random_image((3, 20 + i % 7, 24 + i % 5)) for i in range(60)]
    expected = [v2.Compose(learned.transforms)(image) for image in images]
    wrong = []

    def work(start):
        wrong.extend(i for i in range(start, 60, 4) if not learned(images[i]).equal(expected[i]))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(cpu.MISSING is not None, reason="the native extension is not there")
def test_plans_of_other_draws_share_their_stages(monkeypatch):
    made = []
    for kind, make in stages.NATIVE.items():
        monkeypatch.setitem(stages.NATIVE, kind, lambda stage, make=make: made.append(stage) or make(stage))
    pipeline = lt.LearnedCompose([v2.ColorJitter(0.4, 0.4, 0.4, 0.1), v2.RandomHorizontalFlip()], backend="cpu")
    for _ in range(150):
        pipeline(IMAGE)
    # 24 orders, and a flip that comes or not: each of the four first, second, third or last, and the flip.
    assert len(made) <= 17
    before = len(made)
    pipeline.load_state_dict(pipeline.state_dict())
    pipeline(IMAGE)
    assert len(made) > before


def test_weights_that_were_trained_are_lowered_anew():
    pipeline = lt.LearnedCompose([v2.Resize((8, 8), antialias=True)])
    image = IMAGE.float()
    (network,) = (segment.network for segment in [pipeline.gather(form_of(image), 0)])
    before = network(image)
    for weight in network.parameters():
        weight.requires_grad_()
    network(image)
    assert not network.lowered
    with torch.no_grad():
        network.members[0].shift += 0.25
    assert not network(image).equal(before)


def test_copies_of_layers_share_nothing_that_changes():
    layer = next(iter(lt.LearnedCompose([v2.Resize(28)]).layers.values()))
    layer.register_forward_hook(print)
    made = copy.deepcopy([layer, layer])
    assert made[0] is made[1]
    assert type(made[0]) is type(layer)
    assert made[0].digest() == layer.digest()
    assert list(made[0]._forward_hooks.values()) == [print]
    before = layer.digest()
    for parameter in made[0].parameters():
        assert not parameter.requires_grad
        parameter.data += 1
    made[0].register_forward_hook(repr)
    made[0].register_buffer("more", torch.zeros(1))
    assert layer.digest() == before
    assert len(layer._forward_hooks) == 1
    assert not list(layer.buffers())
    # Numbers that a user gave, which are tensors and no weights.
    given = Projecting(torch.eye(3), torch.zeros(3))
    other = copy.deepcopy(given)
    other.matrix += 1
    assert given.matrix.equal(torch.eye(3))
