"""Layer types that have no form in PyTorch, why, and what to do."""

from __future__ import annotations

from dragon.export.torch.form import without_form
from dragon.layers.anchor_target import AnchorTarget
from dragon.layers.box_annotator_ohem import BoxAnnotatorOHEM
from dragon.layers.center_loss import CenterLoss
from dragon.layers.ctc_beam_search_decoder import CTCBeamSearchDecoder
from dragon.layers.detection_evaluate import DetectionEvaluate
from dragon.layers.detection_loss import DetectionLoss
from dragon.layers.detection_output import DetectionOutput
from dragon.layers.gaussian_yolov3 import GaussianYolov3
from dragon.layers.hdf5_output import HDF5Output
from dragon.layers.label_specific_add import LabelSpecificAdd
from dragon.layers.large_margin_inner_product import LargeMarginInnerProduct
from dragon.layers.malis_loss import MalisLoss
from dragon.layers.margin_inner_product import MarginInnerProduct
from dragon.layers.mask_resize import MaskResize
from dragon.layers.multi_box_loss import MultiBoxLoss
from dragon.layers.proposal import Proposal
from dragon.layers.proposal_target import ProposalTarget
from dragon.layers.psroi_align import PSROIAlign
from dragon.layers.python import Python
from dragon.layers.rcnn_detection_output import RCNNDetectionOutput
from dragon.layers.region_loss import RegionLoss
from dragon.layers.roi_align import ROIAlign
from dragon.layers.smooth_l1_loss_ohem import SmoothL1LossOHEM
from dragon.layers.softmax_with_loss_ohem import SoftmaxWithLossOHEM
from dragon.layers.yolo_detection_output import YoloDetectionOutput
from dragon.layers.yolov3 import Yolov3
from dragon.layers.yolov3_detection_output import Yolov3DetectionOutput

__all__: list[str] = []

_MARGIN = "has a margin that changes in training: remove it, and for testing write an InnerProduct with its weights"
_EACH = "gives the loss of each region for training: remove it, and compute it beside the module"
_YOLO = "matches boxes with true ones: remove it, and compute the loss beside the module"
_READS = "suppresses overlapping boxes one by one: remove it and use torchvision.ops.nms"
_SAMPLES = "samples regions for training: remove it, and compute its tops beside the module"
without_form(
    {
        AnchorTarget: _SAMPLES,
        BoxAnnotatorOHEM: "chooses regions for training: remove it, and compute its tops beside the module",
        CTCBeamSearchDecoder: "keeps a table of labels: remove it, and search by torchaudio.models.decoder",
        CenterLoss: "moves its centres by a rule that is no gradient: remove it, and write it beside the optimizer",
        DetectionEvaluate: "compares detections with labels one by one: remove it, and score what the module finds",
        DetectionOutput: "suppresses overlapping boxes one by one: remove it and use torchvision.ops.batched_nms",
        HDF5Output: "writes files: remove it, and save what the module returns",
        LabelSpecificAdd: "sets a margin for training: remove it, scores for testing are those of its bottom",
        LargeMarginInnerProduct: _MARGIN,
        MalisLoss: "joins segments edge by edge: remove it, and compute the loss beside the module",
        MarginInnerProduct: _MARGIN,
        MaskResize: "maps positions as no function of PyTorch does: remove it, or use Interp and train it again",
        MultiBoxLoss: "matches boxes with labels one by one: remove it, and compute the loss beside the module",
        Proposal: "suppresses overlapping regions one by one: remove it and use torchvision.ops.nms",
        ProposalTarget: _SAMPLES,
        PSROIAlign: "is not in PyTorch itself: remove it and use torchvision.ops.ps_roi_align",
        Python: "runs code of its own: write it as a torch.nn.Module, and export the net without it",
        RCNNDetectionOutput: _READS,
        RegionLoss: _YOLO,
        DetectionLoss: _YOLO,
        GaussianYolov3: _YOLO,
        Yolov3: _YOLO,
        YoloDetectionOutput: _READS,
        Yolov3DetectionOutput: _READS,
        SmoothL1LossOHEM: _EACH,
        SoftmaxWithLossOHEM: _EACH,
        ROIAlign: "is not in PyTorch itself: remove it and use torchvision.ops.roi_align",
    }
)
