"""LearnedCompose in a DataLoader with worker processes, beside torchvision on the same images: equal batches.

Run: python examples/dataloader.py [FOLDER] (a folder of images; without one, the bundled photos).
"""

import sys
import time
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import learned_transforms as lt


class Folder(Dataset):
    """Every image below a folder, repeated, so that there is something to time."""

    def __init__(self, folder: Path, transform, repeats: int = 20) -> None:
        self.paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"}) * repeats
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB"))


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(lt.__file__).parent / "photos"
    transforms = [
        v2.Resize((28, 28)),
        v2.RandomHorizontalFlip(p=1),
        v2.Grayscale(1),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
    ]
    batches = {}
    for name, transform in (("torchvision", v2.Compose(transforms)), ("learned", lt.LearnedCompose(transforms))):
        loader = DataLoader(Folder(folder, transform), batch_size=32, num_workers=2)
        start = time.perf_counter()
        batches[name] = torch.cat(list(loader))
        seconds = time.perf_counter() - start
        print(f"{name:<12} {len(batches[name])} images in {seconds:.2f} s, {tuple(batches[name].shape)}")
    print("equal batches:", torch.equal(batches["torchvision"], batches["learned"]))


if __name__ == "__main__":
    main()
