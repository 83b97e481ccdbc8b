"""The shipped pipelines do what their page promises, and certify takes what a Dataset gives."""

import numpy as np
import pytest
import torch
from helpers import image_of, seed_v2, to_pil
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

import learned_transforms as lt
from learned_transforms.errors import DataError, InputTypeError


@pytest.mark.parametrize(("name", "flips"), [("cifar10_gray28", (-2, -1)), ("cifar10_gray28_upright", ())])
def test_pretrained_gives_what_its_page_promises(name, flips):
    learned = lt.LearnedCompose.from_pretrained(name, fallback="error")
    resize = v2.Compose([v2.Resize((28, 28)), v2.Grayscale(1)])
    image = image_of(3, (32, 32))
    floats = image.float() / 255
    for given in (image, floats, tv_tensors.Image(image), to_pil(image), to_pil(image[:1])):
        made = resize(given)
        expected = v2.functional.to_dtype(
            v2.functional.pil_to_tensor(made) if isinstance(made, Image.Image) else made, torch.float32, scale=True
        ).flip(flips)
        found = learned(given)
        assert (found.dtype, tuple(found.shape)) == (torch.float32, (1, 28, 28))
        assert type(found) is (tv_tensors.Image if isinstance(given, tv_tensors.Image) else torch.Tensor)
        assert (found - expected).abs().max() <= 1e-6
    batch = next(iter(DataLoader([learned(to_pil(image)), learned(to_pil(image))], batch_size=2)))
    assert (batch.dtype, tuple(batch.shape)) == (torch.float32, (2, 1, 28, 28))
    array = learned(image.permute(1, 2, 0).numpy())
    assert (type(array), array.dtype, array.shape) == (np.ndarray, np.float32, (28, 28, 1))
    assert np.array_equal(array[..., 0], learned(image)[0].numpy())


class Labelled(Dataset):
    """Images and labels, as torchvision's datasets give them; ``__getitem__`` never ends."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return to_pil(image_of(3, (32, 32), index)), index


def test_certify_takes_what_a_dataset_gives(tmp_path):
    learned = lt.LearnedCompose(seed_v2())
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, (image, _) in zip(paths, (Labelled()[i] for i in range(3)), strict=True):
        image.save(path)
    plain = [image for image, _ in (Labelled()[i] for i in range(3))]
    expected = learned.certify(plain)
    assert (expected.tier, expected.images) == ("exact", 3)
    samples = [(str(path), 0) for path in paths]
    for images in (Labelled(), iter(plain), paths, samples, [[p] for p in paths], tmp_path, str(tmp_path)):
        assert learned.certify(images) == expected
    assert learned.certify(torch.stack([image_of(3, (32, 32), i) for i in range(3)])).images == 3
    damaged = learned.certify(
        [(image, 0) for image in plain], teacher=lambda image: image.resize((28, 28)).convert("L")
    )
    assert damaged.tier == "approximate"
    for wrong in (3, {}, [], tmp_path / "missing"):
        with pytest.raises(DataError):
            learned.certify(wrong)
    with pytest.raises(InputTypeError, match="got int"):
        learned.certify([(1, plain[0])])
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputTypeError, match=r"8 bits for each value, got mode I.* scale it to 8 bits"):
        learned.certify([tmp_path / "deep.png"])
