"""``python -m learned_transforms.trainer.zoo``."""

from learned_transforms.trainer.zoo.build import main

main()
