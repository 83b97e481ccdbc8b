"""Pipelines that other projects' own code builds: a table of what builds each, out of which module."""

import importlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from builders import (
    Build,
    anomaly,
    composed,
    diffusion,
    learner,
    numbers,
    open_clip,
    processor,
    quiet,
    reid,
    settings,
    timm,
    view,
    weights,
)

# No client looks for a network.
os.environ.update(YOLO_OFFLINE="true", YOLO_VERBOSE="false", HF_HUB_OFFLINE="1")


class Group(NamedTuple):
    """Pipelines of one client that one module builds.

    Attributes:
        client: the project.
        module: what the builders are given, imported.
        pipelines: by name, what builds each.
        inputs: the kinds of what goes in, of :data:`likeness.INPUTS`.
    """

    client: str
    module: str
    pipelines: Mapping[str, Build]
    inputs: tuple[str, ...] = ("pil", "uint8")


class Pipeline(NamedTuple):
    """One pipeline of the corpus; ``build()`` makes it anew."""

    client: str
    module: str
    builder: Build
    inputs: tuple[str, ...]

    def build(self) -> Any:
        """Out of the client's code."""
        with quiet():
            return self.builder(importlib.import_module(self.module))


CLIP_JITTER = {"scale": (0.4, 1.0), "color_jitter": (0.32, 0.32, 0.32, 0.08), "color_jitter_prob": 0.8}
NORMALIZE = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

GROUPS = (
    Group(
        "torchvision",
        "torchvision.models",
        {
            "resnet50 v1": weights("ResNet50_Weights.IMAGENET1K_V1"),
            "resnet50 v2": weights("ResNet50_Weights.IMAGENET1K_V2"),
            "vit_h_14 swag": weights("ViT_H_14_Weights.IMAGENET1K_SWAG_E2E_V1"),
            "swin_v2_t": weights("Swin_V2_T_Weights.IMAGENET1K_V1"),
            "efficientnet_b1": weights("EfficientNet_B1_Weights.IMAGENET1K_V2"),
            "efficientnet_v2_s": weights("EfficientNet_V2_S_Weights.IMAGENET1K_V1"),
            "inception_v3": weights("Inception_V3_Weights.IMAGENET1K_V1"),
            "mobilenet_v3": weights("MobileNet_V3_Large_Weights.IMAGENET1K_V2"),
            "quantized googlenet": weights("GoogLeNet_QuantizedWeights.IMAGENET1K_FBGEMM_V1"),
            "segmentation fcn": weights("FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1"),
            "segmentation lraspp": weights("LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1"),
            "detection ssd": weights("SSD300_VGG16_Weights.COCO_V1"),
            "detection faster rcnn": weights("FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1"),
            "video r3d": weights("R3D_18_Weights.KINETICS400_V1"),
            "video swin3d": weights("Swin3D_T_Weights.KINETICS400_V1"),
        },
        ("pil", "uint8", "clip"),
    ),
    Group(
        "timm",
        "timm.data",
        {
            "eval": timm(),
            "eval bicubic of a model": timm(interpolation="bicubic", crop_pct=0.95, mean=(0.5,) * 3, std=(0.5,) * 3),
            "eval squash, not square": timm(input_size=(3, 192, 256), crop_mode="squash"),
            "eval border": timm(crop_mode="border", crop_border_pixels=3),
            "eval for a prefetcher": timm(use_prefetcher=True),
            "eval naflex in patches": timm(naflex=True, patchify=True),
            "train": timm(is_training=True),
            "train no_aug": timm(is_training=True, no_aug=True),
            "train randaugment, erasing": timm(
                is_training=True, auto_augment="rand-m9-mstd0.5-inc1", re_prob=0.5, re_mode="pixel", re_count=2
            ),
            "train autoaugment": timm(is_training=True, auto_augment="original-mstd0.5", interpolation="random"),
            "train augmix": timm(is_training=True, auto_augment="augmix-m3-w3"),
            "train three augment": timm(is_training=True, auto_augment="3a", color_jitter=0.3, scale=(0.5, 1.0)),
            "train keep ratio": timm(is_training=True, train_crop_mode="rkrc", vflip=0.5, grayscale_prob=0.3),
            "train jitter, gray, blur": timm(
                is_training=True, color_jitter=(0.4, 0.4, 0.2, 0.1), color_jitter_prob=0.8, gaussian_blur_prob=0.5
            ),
            "train naflex": timm(is_training=True, naflex=True, patchify=True, re_prob=0.3),
        },
    ),
    Group(
        "lightly",
        "lightly.transforms",
        {
            "SimCLR": view("SimCLRTransform", input_size=96),
            "MoCo v1": view("MoCoV1Transform", input_size=96),
            "MoCo v2": view("MoCoV2Transform", input_size=96),
            "BYOL": view("BYOLTransform"),
            "DINO": view("DINOTransform", n_local_views=2),
            "MAE": view("MAETransform"),
            "SimSiam": view("SimSiamTransform"),
            "SwaV": view("SwaVTransform", crop_counts=(2, 2)),
            "VICReg": view("VICRegTransform"),
            "VICRegL": view("VICRegLTransform", n_local_views=2),
            "iBOT": view("IBOTTransform", n_local_views=2),
            "MSN": view("MSNTransform", focal_views=2),
            "PIRL": view("PIRLTransform"),
            "WMSE": view("WMSETransform"),
            "SMoG": view("SMoGTransform"),
        },
    ),
    Group(
        "open_clip",
        "open_clip.transform",
        {
            "eval": open_clip(224, False),
            "eval siglip": open_clip(256, False, mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode="squash"),
            "eval longest": open_clip(224, False, resize_mode="longest", fill_color=128),
            "eval not square": open_clip((192, 256), False, interpolation="bilinear"),
            "eval 336": open_clip(336, False),
            "eval v2": lambda t: t.image_transform_v2(t.PreprocessCfg(size=384, interpolation="bilinear"), False),
            "train": open_clip(224, True),
            "train jitter": open_clip(224, True, aug_cfg={**CLIP_JITTER, "gray_scale_prob": 0.2}),
            "train by timm": open_clip(224, True, aug_cfg={"use_timm": True, "re_prob": 0.4, "scale": (0.8, 1.0)}),
            "train v2": lambda t: t.image_transform_v2(t.PreprocessCfg(), True),
        },
    ),
    Group(
        "ultralytics",
        "ultralytics.data.augment",
        {
            "classify": lambda augment: augment.classify_transforms(),
            "classify 640": lambda augment: augment.classify_transforms(640, interpolation="BICUBIC"),
            "classify not square": lambda augment: augment.classify_transforms((160, 224)),
            "augment": lambda augment: augment.classify_augmentations(),
            "augment of a training": lambda augment: augment.classify_augmentations(
                128, scale=(0.5, 1.0), vflip=0.5, hsv_s=0.7, auto_augment="randaugment", erasing=0.4
            ),
            "augment augmix": lambda augment: augment.classify_augmentations(auto_augment="augmix", erasing=0.4),
            "augment autoaugment": lambda augment: augment.classify_augmentations(
                auto_augment="autoaugment", force_color_jitter=True, interpolation="NEAREST"
            ),
        },
    ),
    Group(
        "ultralytics",
        "ultralytics.data.augment",
        {
            "letterbox": composed(("ClassifyLetterBox", (96, 128)), ("ToTensor",)),
            "center crop": composed(("CenterCrop", 224), ("ToTensor",)),
        },
        ("array",),
    ),
    Group(
        "transformers",
        "transformers",
        {
            "ViT": processor("ViTImageProcessor"),
            "CLIP": processor("CLIPImageProcessor"),
            "DINOv2": processor("BitImageProcessor", size={"shortest_edge": 256}),
            "ConvNeXT": processor("ConvNextImageProcessor"),
            "EfficientNet": processor("EfficientNetImageProcessor"),
            "numbers of ViT": numbers("ViTImageProcessor"),
            "numbers of CLIP": numbers("CLIPImageProcessor"),
            "numbers of SigLIP": numbers("SiglipImageProcessor"),
            "numbers of DeiT": numbers("DeiTImageProcessor"),
            "numbers of BLIP": numbers("BlipImageProcessor"),
            "numbers of MobileNet": numbers("MobileNetV2ImageProcessor"),
            "numbers of LeViT": numbers("LevitImageProcessor"),
        },
    ),
    Group(
        "anomalib",
        "anomalib.models",
        {
            "Patchcore": anomaly("Patchcore", (256, 256), (224, 224)),
            "WinCLIP": anomaly("WinClip"),
            "Dinomaly": anomaly("Dinomaly", (448, 448), 392),
            "AnomalyDINO": anomaly("AnomalyDINO", (252, 252)),
            "Draem": anomaly("Draem", (256, 256)),
            "UFlow": anomaly("Uflow", (448, 448)),
            "Glass": anomaly("Glass", (288, 288), (256, 256)),
            "SuperSimpleNet": anomaly("Supersimplenet", (256, 256)),
        },
        ("pil", "uint8", "float"),
    ),
    Group(
        "vit_pytorch",
        "vit_pytorch",
        {
            "Dino": learner("vit_pytorch.dino", "Dino", "augment1"),
            "Dino local crop": learner("vit_pytorch.dino", "Dino", "local_crop"),
            "Dino global crop": learner("vit_pytorch.dino", "Dino", "global_crop"),
        },
        ("float", "batch"),
    ),
    Group(
        "byol_pytorch",
        "byol_pytorch",
        {"BYOL": learner("byol_pytorch", "BYOL", "augment1")},
        ("float", "batch"),
    ),
    Group(
        "torchreid",
        "torchreid.reid.data.transforms",
        {
            "flip": reid("random_flip"),
            "crop": reid("random_flip", "random_crop"),
            "patch": reid("random_patch"),
            "jitter": reid("color_jitter"),
            "erase": reid("random_flip", "random_erase"),
            "all": reid("random_flip", "random_crop", "random_patch", "color_jitter", "random_erase"),
            "test": reid(test=True),
        },
    ),
    Group(
        "pretrainedmodels",
        "pretrainedmodels.utils",
        {
            "resnet50": settings("resnet50"),
            "bninception": settings("bninception"),
            "nasnetalarge": settings("nasnetalarge", scale=0.8975),
            "inceptionv4 random": settings("inceptionv4", random_crop=True, random_hflip=True, random_vflip=True),
            "vgg16 not keeping the ratio": settings("vgg16", preserve_aspect_ratio=False),
        },
    ),
    Group(
        "easyfsl",
        "easyfsl.datasets.default_configs",
        {
            "train": lambda configs: configs.default_transform(84, True),
            "test": lambda configs: configs.default_transform(84, False),
            "loading": lambda configs: configs.default_mini_imagenet_loading_transform(84),
            "serving": lambda configs: configs.default_mini_imagenet_serving_transform(84, True),
            "serving a test": lambda configs: configs.default_mini_imagenet_serving_transform(84, False),
        },
        ("pil", "uint8", "float"),
    ),
    Group(
        "dinov2",
        "dinov2.data.transforms",
        {
            "train": lambda transforms: transforms.make_classification_train_transform(),
            "train 518": lambda transforms: transforms.make_classification_train_transform(crop_size=518, hflip_prob=0),
            "eval": lambda transforms: transforms.make_classification_eval_transform(),
            "eval 448": lambda transforms: transforms.make_classification_eval_transform(
                resize_size=480, crop_size=448
            ),
            "blur": lambda transforms: transforms.GaussianBlur(p=0.5),
        },
    ),
    Group(
        "dinov2",
        "dinov2.data.augmentations",
        {"DINO": lambda augmentations: augmentations.DataAugmentationDINO((0.32, 1.0), (0.05, 0.32), 2)},
    ),
    Group(
        "robustness",
        "robustness.data_augmentation",
        {
            "train imagenet": lambda augmentation: augmentation.TRAIN_TRANSFORMS_IMAGENET,
            "test imagenet": lambda augmentation: augmentation.TEST_TRANSFORMS_IMAGENET,
            "train": lambda augmentation: augmentation.TRAIN_TRANSFORMS_DEFAULT(32),
            "test": lambda augmentation: augmentation.TEST_TRANSFORMS_DEFAULT(32),
        },
    ),
    Group(
        "open-metric-learning",
        "oml.transforms.images.torchvision",
        {
            "train": lambda images: images.get_augs_torch(224),
            "train hypvit": lambda images: images.get_augs_hypvit(),
            "eval": lambda images: images.get_normalisation_resize_torch(224),
            "eval hypvit": lambda images: images.get_normalisation_resize_hypvit(),
            "normalize": lambda images: images.get_normalisation_torch(),
        },
    ),
    Group(
        "catalyst",
        "catalyst.contrib.data.transforms",
        {
            "image": lambda t: t.Compose([t.ImageToTensor(), t.NormalizeImage(*NORMALIZE)]),
            "digits": lambda t: t.Compose([t.ImageToTensor(), t.NormalizeImage((0.1307,), (0.3081,))]),
        },
        ("pil", "array", "digit"),
    ),
    Group(
        "denoising-diffusion-pytorch",
        "denoising_diffusion_pytorch.denoising_diffusion_pytorch",
        {
            "dataset": diffusion(),
            "dataset with flips": diffusion(augment_horizontal_flip=True),
            "dataset in RGB": diffusion(convert_image_to="RGB"),
            "dataset in gray": diffusion(convert_image_to="L", augment_horizontal_flip=True),
        },
    ),
    Group(
        "sam2",
        "sam2.utils.transforms",
        {
            "1024": lambda transforms: transforms.SAM2Transforms(1024, 0.0),
            "256": lambda transforms: transforms.SAM2Transforms(256, 0.0),
        },
        ("pil", "array"),
    ),
    Group(
        "torchxrayvision",
        "torchxrayvision.datasets",
        {
            "crop": composed(("XRayCenterCrop",), ("XRayResizer", 224)),
            "crop by cv2": composed(("XRayCenterCrop",), ("XRayResizer", 128, "cv2")),
        },
        ("xray",),
    ),
    Group(
        "pytorch-lightning",
        "pytorch_lightning.demos.mnist_datamodule",
        {
            "MNIST": lambda demos: demos.MNISTDataModule(normalize=True).default_transforms,
            "MNIST not normalized": lambda demos: demos.MNISTDataModule().default_transforms,
        },
        ("digit", "pil", "array"),
    ),
    Group("clip", "clip.clip", {f"preprocess {n}": lambda clip, n=n: clip._transform(n) for n in (224, 288, 336)}),
    Group(
        "groundingdino",
        "groundingdino.datasets.transforms",
        {
            "inference": composed(("RandomResize", [300], 500), ("ToTensor",), ("Normalize", *NORMALIZE)),
            "train": composed(
                ("RandomHorizontalFlip",),
                ("RandomResize", [160, 192, 224], 300),
                ("ToTensor",),
                ("Normalize", *NORMALIZE),
            ),
        },
        ("pair",),
    ),
    Group(
        "pytorch-ood",
        "pytorch_ood.model.registry",
        {
            "CIFAR": lambda registry: registry.ImagePreprocessing(*NORMALIZE).build(),
            "ImageNet": lambda registry: registry.ImagePreprocessing(*NORMALIZE, (256, 256), (224, 224)).build(),
        },
        ("pil", "uint8", "digit"),
    ),
)

CORPUS = {
    f"{group.client}: {name}": Pipeline(group.client, group.module, builder, group.inputs)
    for group in GROUPS
    for name, builder in group.pipelines.items()
}
"""All, by client and name."""
