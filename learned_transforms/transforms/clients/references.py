"""torchvision's references: presets that are scripts, not part of the package, and do what the Compose in them does."""

from learned_transforms.transforms.clients.entries import Entries, entry

TABLE: Entries = {
    "ClassificationPresetTrain": entry("27d35f4764ac4f95", opened="transforms"),
    "ClassificationPresetEval": entry("fbc7b156b97906e7", opened="transforms"),
    "SegmentationPresetTrain": entry("0c2aea7e8fc37818", opened="transforms"),
    "SegmentationPresetEval": entry("7beafca913c51b33", opened="transforms"),
    "DetectionPresetTrain": entry("977864c8a5b06eec", opened="transforms"),
    "DetectionPresetEval": entry("926edd8e231ed18a", opened="transforms"),
}
