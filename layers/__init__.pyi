"""The functions that make layers. Written by dragon/pycaffe/stubs.py: `make proto` writes it anew."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

import numpy as np

from dragon.proto import dragon_pb2 as pb
from dragon.pycaffe.net_spec import Top

_Int: TypeAlias = int | np.integer[Any]
_Float: TypeAlias = float | np.integer[Any] | np.floating[Any]

def __getattr__(name: str) -> Callable[..., Any]: ...

class _AccuracyParameterFields(TypedDict, total=False):
    """Fields of AccuracyParameter."""

    top_k: _Int
    """right if the label is among so many best"""
    axis: _Int
    """of the classes"""
    ignore_label: _Int
    """examples with this label do not count"""

_AccuracyParameter: TypeAlias = _AccuracyParameterFields | Mapping[str, Any] | pb.AccuracyParameter

class _AnchorTargetParameterFields(TypedDict, total=False):
    """Labels and targets of anchors, for training a region proposal network; defaults of py-faster-rcnn."""

    feat_stride: _Int
    """pixels of the image for one position of the feature map"""
    base_size: _Int
    """side of the square that ratio and scale change"""
    ratio: _Float | Sequence[_Float]
    """height / width of anchors; unset: 0.5, 1, 2"""
    scale: _Float | Sequence[_Float]
    """factors of their sides; unset: 8, 16, 32"""
    allowed_border: _Float
    """anchors further outside of the image are left out"""
    batch_size: _Int
    """anchors with a label, of one image"""
    fg_fraction: _Float
    """most of them that are positive"""
    positive_overlap: _Float
    """positive from this overlap with a true box"""
    negative_overlap: _Float
    """negative below this overlap with all of them"""
    clobber_positives: bool
    """negative, if an anchor is both"""
    positive_weight: _Float
    """weight of all positive boxes together, in (0, 1); below 0: all alike"""
    inside_weight: _Float | Sequence[_Float]
    """four, of x, y, width and height; unset: 1"""

_AnchorTargetParameter: TypeAlias = _AnchorTargetParameterFields | Mapping[str, Any] | pb.AnchorTargetParameter

class _AnnotatedDataParameterFields(TypedDict, total=False):
    """Images with boxes (SSD, MobileNet-YOLO)."""

    batch_sampler: _BatchSampler | Sequence[_BatchSampler]
    """each finds windows; one of all that were found is cut out"""
    label_map_file: str
    """names of the labels; read, to find faults, and without further effect"""
    anno_type: _Int | Literal['BBOX']
    """BBOX: records without a type are an error"""
    yolo_data_type: _Int
    """1: labels (N, 1, 300, 5) of MobileNet-YOLO, and a window as it draws them"""
    yolo_data_jitter: _Float
    """most of a side that the window leaves out, where there is no batch_sampler"""
    train_diffcult: bool
    """difficult boxes are in the labels of yolo_data_type: 1; spelled so"""

_AnnotatedDataParameter: TypeAlias = _AnnotatedDataParameterFields | Mapping[str, Any] | pb.AnnotatedDataParameter

class _ArgMaxParameterFields(TypedDict, total=False):
    """Fields of ArgMaxParameter."""

    out_max_val: bool
    """give the values, not only where they are"""
    top_k: _Int
    """how many"""
    axis: _Int
    """along this axis; unset: over the whole item"""

_ArgMaxParameter: TypeAlias = _ArgMaxParameterFields | Mapping[str, Any] | pb.ArgMaxParameter

class _BNParameterFields(TypedDict, total=False):
    """Batch normalisation as yjxiong, PSPNet (slope, bias) and SegNet (scale, shift) write it."""

    slope_filler: _FillerParameter
    """of gamma, 1 by default"""
    bias_filler: _FillerParameter
    """of beta, 0 by default"""
    momentum: _Float
    """weight of the history in the running average"""
    eps: _Float
    """added to the variance"""
    frozen: bool
    """use stored statistics in training as well"""
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    """read, without effect: --engine chooses"""
    scale_filler: _FillerParameter
    """SegNet's"""
    shift_filler: _FillerParameter
    """SegNet's"""
    bn_mode: _Int | Literal['LEARN', 'INFERENCE']
    """SegNet's"""

_BNParameter: TypeAlias = _BNParameterFields | Mapping[str, Any] | pb.BNParameter

class _BatchNormParameterFields(TypedDict, total=False):
    """Batch normalisation, split (BatchNorm) and merged (BN)."""

    use_global_stats: bool
    """by the running statistics; unset: true in TEST, false in TRAIN"""
    moving_average_fraction: _Float
    """weight of the history in the running average"""
    eps: _Float
    """added to the variance"""
    scale_filler: _FillerParameter
    """of gamma, 1 by default"""
    bias_filler: _FillerParameter
    """of beta, 0 by default"""
    scale_bias: bool
    """learn scale and bias in the same layer"""
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    """read, without effect: --engine chooses"""
    decay: _Float
    """another name for moving_average_fraction, with BN's default"""
    average: _Int | Literal['CAFFE', 'EMA', 'CUMULATIVE', 'LATEST']
    """rule of the running average; unset: CAFFE for BatchNorm, EMA for BN"""
    relu: bool
    """Intel Caffe's: read as a ReLU layer in place behind this one"""
    ghost_batch: _Int
    """TRAIN: statistics of so many items at a time; 0: of all"""
    gradient_through_statistics: bool
    """false: backward takes them as constants"""

_BatchNormParameter: TypeAlias = _BatchNormParameterFields | Mapping[str, Any] | pb.BatchNormParameter

class _BatchRenormParameterFields(TypedDict, total=False):
    """Batch renormalisation: limits r_max and d_max are reached linearly from step_to_init on."""

    use_global_stats: bool
    """unset: true in TEST, false in TRAIN"""
    moving_average_fraction: _Float
    """weight of the history in the running average"""
    eps: _Float
    """added to the variance"""
    r_max: _Float
    """limit of the scale's correction"""
    d_max: _Float
    """limit of the shift's correction"""
    step_to_init: _Int
    """iterations without correction"""
    step_to_r_max: _Int
    """iteration at which r_max is reached"""
    step_to_d_max: _Int
    """iteration at which d_max is reached"""

_BatchRenormParameter: TypeAlias = _BatchRenormParameterFields | Mapping[str, Any] | pb.BatchRenormParameter

class _BatchSamplerFields(TypedDict, total=False):
    """Finds windows of an image."""

    use_original_image: bool
    """false: this sampler finds no windows"""
    sampler: _Sampler
    """the windows that are tried"""
    sample_constraint: _SampleConstraint
    """which of them are taken"""
    max_sample: _Int
    """most windows that are taken; unset: all"""
    max_trials: _Int
    """windows that are tried"""

_BatchSampler: TypeAlias = _BatchSamplerFields | Mapping[str, Any] | pb.BatchSampler

class _BiasParameterFields(TypedDict, total=False):
    """Fields of BiasParameter."""

    axis: _Int
    """the bias lies on the axes from this one on"""
    num_axes: _Int
    """how many axes it has; -1: all from axis on"""
    filler: _FillerParameter
    """of the bias, 0 by default"""

_BiasParameter: TypeAlias = _BiasParameterFields | Mapping[str, Any] | pb.BiasParameter

class _BlobShapeFields(TypedDict, total=False):
    """Extents of an N-dimensional array, outermost first."""

    dim: _Int | Sequence[_Int]

_BlobShape: TypeAlias = _BlobShapeFields | Mapping[str, Any] | pb.BlobShape

class _BoxAnnotatorOHEMParameterFields(TypedDict, total=False):
    """Which regions count in the losses: those of the largest loss (R-FCN)."""

    roi_per_img: _Int
    """so many of each image"""
    ignore_label: _Int
    """label of the others"""

_BoxAnnotatorOHEMParameter: TypeAlias = _BoxAnnotatorOHEMParameterFields | Mapping[str, Any] | pb.BoxAnnotatorOHEMParameter

class _CTCDecoderParameterFields(TypedDict, total=False):
    """What the most probable path of each sequence reads as; by beam search, the most probable label."""

    blank_index: _Int
    """class that stands for no label; negative: counted from the last one"""
    ctc_merge_repeated: bool
    """repeated classes of a path are one label"""
    beam_width: _Int
    """beam search: labels that are kept from step to step"""
    already_softmax: bool
    """beam search: the scores are probabilities"""

_CTCDecoderParameter: TypeAlias = _CTCDecoderParameterFields | Mapping[str, Any] | pb.CTCDecoderParameter

class _CTCLossParameterFields(TypedDict, total=False):
    """The loss of label sequences without alignment. Two families of forks have a message of this name for their text."""

    output_delay: _Int
    """steps at the beginning that do not count"""
    blank_index: _Int
    """class that stands for no label; negative: counted from the last one"""
    preprocess_collapse_repeated: bool
    """merge repeated values of the label itself"""
    ctc_merge_repeated: bool
    """repeated classes of a path are one label"""
    loss_calculation_t: _Int
    """for tests of a fork: any step gives the same loss"""
    blank_label: _Int
    """warpctc-caffe's name of blank_index"""
    alphabet_size: _Int
    """number of classes, to check; 0: as the bottom has"""
    time_step: _Int
    """steps of each sequence; 0: as the bottom has"""

_CTCLossParameter: TypeAlias = _CTCLossParameterFields | Mapping[str, Any] | pb.CTCLossParameter

class _CenterLossParameterFields(TypedDict, total=False):
    """Distance of items to the centre of their class."""

    num_output: _Int
    """classes"""
    center_filler: _FillerParameter
    axis: _Int
    """this axis and the following ones are one vector"""
    distance_type: str
    """L1 or L2"""

_CenterLossParameter: TypeAlias = _CenterLossParameterFields | Mapping[str, Any] | pb.CenterLossParameter

class _ChannelScaleParameterFields(TypedDict, total=False):
    """One factor for all channels at a position."""

    do_forward: bool
    """false: a copy"""
    do_backward_feature: bool
    """whether the gradient of x is multiplied by the factor"""
    do_backward_scale: bool
    """whether the factors have a gradient"""
    global_scale: bool
    """not offered"""
    max_global_scale: _Float
    min_global_scale: _Float
    init_global_scale: _Float

_ChannelScaleParameter: TypeAlias = _ChannelScaleParameterFields | Mapping[str, Any] | pb.ChannelScaleParameter

class _ClipParameterFields(TypedDict, total=False):
    """Fields of ClipParameter."""

    min: _Float
    """smallest value that passes"""
    max: _Float
    """largest value that passes"""

_ClipParameter: TypeAlias = _ClipParameterFields | Mapping[str, Any] | pb.ClipParameter

class _ConcatParameterFields(TypedDict, total=False):
    """Fields of ConcatParameter."""

    axis: _Int
    """of joining; -1 is the last"""
    concat_dim: _Int
    """older form of axis"""

_ConcatParameter: TypeAlias = _ConcatParameterFields | Mapping[str, Any] | pb.ConcatParameter

class _ContinuationIndicatorParameterFields(TypedDict, total=False):
    """Marks of where sequences begin, for recurrent layers."""

    time_step: _Int
    """steps; 0: as the bottom (T, N, ...) has"""
    batch_size: _Int
    """sequences side by side; 0: as the bottom has"""
    flag: bool
    """all sequences go on from the batch before"""

_ContinuationIndicatorParameter: TypeAlias = _ContinuationIndicatorParameterFields | Mapping[str, Any] | pb.ContinuationIndicatorParameter

class _ContrastiveLossParameterFields(TypedDict, total=False):
    """Fields of ContrastiveLossParameter."""

    margin: _Float
    """distance from which unlike pairs cost nothing"""
    legacy_version: bool
    """unlike pairs by margin - d^2 in place of (margin - d)^2"""

_ContrastiveLossParameter: TypeAlias = _ContrastiveLossParameterFields | Mapping[str, Any] | pb.ContrastiveLossParameter

class _ConvolutionParameterFields(TypedDict, total=False):
    """Convolution and deconvolution. Either one value for all axes, one per axis, or _h and _w."""

    num_output: _Int
    """channels of the top"""
    bias_term: bool
    """add a bias for each channel"""
    pad: _Int | Sequence[_Int]
    """zeros on each side, 0 by default"""
    kernel_size: _Int | Sequence[_Int]
    """one for all axes, or one for each"""
    stride: _Int | Sequence[_Int]
    """1 by default"""
    dilation: _Int | Sequence[_Int]
    """distance of a kernel's points, 1 by default"""
    pad_h: _Int
    """instead of pad"""
    pad_w: _Int
    """instead of pad"""
    kernel_h: _Int
    """instead of kernel_size"""
    kernel_w: _Int
    """instead of kernel_size"""
    stride_h: _Int
    """instead of stride"""
    stride_w: _Int
    """instead of stride"""
    group: _Int
    """parts of the channels that are convolved apart"""
    weight_filler: _FillerParameter
    """start of the weights, 0 by default"""
    bias_filler: _FillerParameter
    """start of the bias, 0 by default"""
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    """read, without effect: --engine chooses"""
    axis: _Int
    """of the channels; those behind it are spatial"""
    force_nd_im2col: bool
    """read, without effect"""
    pad_l: _Int
    """on the left"""
    pad_r: _Int
    """on the right"""
    pad_t: _Int
    """at the top"""
    pad_b: _Int
    """at the bottom"""
    relu: bool
    """Intel Caffe's: read as a ReLU layer in place behind this one"""
    negative_slope: _Float
    """of that ReLU"""
    kernel_depth: _Int
    """C3D's: extent along the first of three axes"""
    temporal_stride: _Int
    """C3D's: stride along the first of three axes"""
    temporal_pad: _Int
    """C3D's: padding of the first of three axes"""
    filter_group: _Int
    """C3D's: parts in which outputs are computed, to save memory"""
    kernel_shape: _BlobShape
    """of NdConvolution: kernel_size"""
    stride_shape: _BlobShape
    """of NdConvolution: stride"""
    pad_shape: _BlobShape
    """of NdConvolution: pad"""

_ConvolutionParameter: TypeAlias = _ConvolutionParameterFields | Mapping[str, Any] | pb.ConvolutionParameter

class _CropCenterParameterFields(TypedDict, total=False):
    """The middle of the bottom."""

    crop_size: _Int | Sequence[_Int]
    """for each axis, how much is cut off at both ends"""

_CropCenterParameter: TypeAlias = _CropCenterParameterFields | Mapping[str, Any] | pb.CropCenterParameter

class _CropParameterFields(TypedDict, total=False):
    """Fields of CropParameter."""

    axis: _Int
    """first axis that is cut"""
    offset: _Int | Sequence[_Int]
    """where the cut begins: one for all axes, or one for each"""

_CropParameter: TypeAlias = _CropParameterFields | Mapping[str, Any] | pb.CropParameter

class _DataParameterFields(TypedDict, total=False):
    """Fields of DataParameter."""

    source: str
    """folder of the database"""
    batch_size: _Int
    """images in one pass"""
    rand_skip: _Int
    """skip up to so many records at the start"""
    backend: _Int | Literal['LEVELDB', 'LMDB']
    """kind of the database"""
    scale: _Float
    """older place of transform_param's"""
    mean_file: str
    """older place of transform_param's"""
    crop_size: _Int
    """older place of transform_param's"""
    mirror: bool
    """older place of transform_param's"""
    force_encoded_color: bool
    prefetch: _Int
    shuffle: bool
    """new order of records every epoch"""
    random_order: bool
    """Tongcheng's name of shuffle"""

_DataParameter: TypeAlias = _DataParameterFields | Mapping[str, Any] | pb.DataParameter

class _DecorrelatedBNParameterFields(TypedDict, total=False):
    """Batch normalisation that whitens groups of channels."""

    group: _Int
    """parts of the channels that are whitened apart"""
    eps: _Float
    """added to the diagonal of the covariance"""
    decay: _Float
    """weight of the history in the running average"""
    average: _Int | Literal['CAFFE', 'EMA', 'CUMULATIVE', 'LATEST']
    """rule of the running average"""
    scale_bias: bool
    """learn a factor and a bias"""
    scale_filler: _FillerParameter
    """of gamma, 1 by default"""
    bias_filler: _FillerParameter
    """of beta, 0 by default"""

_DecorrelatedBNParameter: TypeAlias = _DecorrelatedBNParameterFields | Mapping[str, Any] | pb.DecorrelatedBNParameter

class _DenseBlockParameterFields(TypedDict, total=False):
    """A block of a DenseNet in one layer (Tongcheng's fork, caffe_ocr)."""

    numTransition: _Int
    """layers of the block"""
    initChannel: _Int
    """read, without effect: as the bottom has"""
    growthRate: _Int
    """channels that each layer adds"""
    pad_h: _Int
    """1 is what is offered"""
    pad_w: _Int
    """1 is what is offered"""
    conv_verticalStride: _Int
    """1 is what is offered"""
    conv_horizentalStride: _Int
    """1 is what is offered"""
    filter_H: _Int
    """3 is what is offered"""
    filter_W: _Int
    """3 is what is offered"""
    Filter_Filler: _FillerParameter
    """of the kernels"""
    BN_Scaler_Filler: _FillerParameter
    """of the scales; unset: 1"""
    BN_Bias_Filler: _FillerParameter
    """of the shifts"""
    gpuIdx: _Int
    """read, without effect"""
    use_dropout: bool
    """drop values that a layer adds, in TRAIN"""
    dropout_amount: _Float
    """probability that a value is dropped"""
    use_BC: bool
    """a 1 x 1 convolution to 4 growthRate channels before each 3 x 3 one"""
    BC_ultra_space_efficient: bool
    """compute the 1 x 1 convolutions again in backward, which needs less memory for the same result"""
    workspace_MB: _Int
    """read, without effect"""
    moving_average_fraction: _Float
    """weight of the newest batch in running averages"""

_DenseBlockParameter: TypeAlias = _DenseBlockParameterFields | Mapping[str, Any] | pb.DenseBlockParameter

class _DenseImageDataParameterFields(TypedDict, total=False):
    """Images with label maps, as SegNet lists them."""

    source: str
    """text file of lines: image map"""
    batch_size: _Int
    """images in one pass"""
    rand_skip: _Int
    """skip up to so many lines at the start"""
    shuffle: bool
    """new order every epoch"""
    new_height: _Int
    """resize to; 0: as the file is"""
    new_width: _Int
    """resize to; 0: as the file is"""
    is_color: bool
    """false: one channel of grey"""
    mean_file: str
    """older place of transform_param's"""
    root_folder: str
    """put before each file's name"""
    mirror: bool
    """older place of transform_param's"""
    crop_width: _Int
    """older place of transform_param's"""
    crop_height: _Int
    """older place of transform_param's"""

_DenseImageDataParameter: TypeAlias = _DenseImageDataParameterFields | Mapping[str, Any] | pb.DenseImageDataParameter

class _DetectionEvaluateParameterFields(TypedDict, total=False):
    """Which detections are true."""

    num_classes: _Int
    """with the background"""
    background_label_id: _Int
    """the label of the background"""
    overlap_threshold: _Float
    """least overlap with the label of a true detection"""
    evaluate_difficult_gt: bool
    """false: difficult labels, and detections of them, do not count"""
    name_size_file: str
    """lines "name height width" of the images: overlaps are then those in the original images"""
    resize_param: _ResizeParameter
    """how these images were resized, for name_size_file"""

_DetectionEvaluateParameter: TypeAlias = _DetectionEvaluateParameterFields | Mapping[str, Any] | pb.DetectionEvaluateParameter

class _DetectionLossParameterFields(TypedDict, total=False):
    """Fields of DetectionLossParameter."""

    side: _Int
    """positions each way"""
    num_class: _Int
    """classes of objects"""
    num_object: _Int
    """boxes of each position"""
    object_scale: _Float
    """weight of the scores of boxes with an object"""
    noobject_scale: _Float
    """weight of the scores of other boxes"""
    class_scale: _Float
    """weight of the classes"""
    coord_scale: _Float
    """weight of the boxes"""
    sqrt: bool
    """the map holds roots of width and height"""
    constriant: bool
    """x and y are relative to the position, not to the image"""

_DetectionLossParameter: TypeAlias = _DetectionLossParameterFields | Mapping[str, Any] | pb.DetectionLossParameter

class _DetectionOutputParameterFields(TypedDict, total=False):
    """Decodes boxes, drops overlapping ones, keeps the best."""

    num_classes: _Int
    """with the background"""
    share_location: bool
    """one box for all classes, not one for each"""
    background_label_id: _Int
    """the label of the background, which gives no boxes"""
    nms_param: _NonMaximumSuppressionParameter
    """which overlapping boxes are dropped"""
    save_output_param: _SaveOutputParameter
    """files that are written"""
    code_type: _Int | Literal['CORNER', 'CENTER_SIZE', 'CORNER_SIZE']
    """how offsets are coded"""
    variance_encoded_in_target: bool
    """offsets are not multiplied by variances"""
    keep_top_k: _Int
    """most boxes of an image; -1: all"""
    confidence_threshold: _Float
    """scores are larger; unset: any"""
    visualize: bool
    """there is no display: a warning, and the boxes are in the top"""
    visualize_threshold: _Float
    """read, without effect: of visualize"""
    save_file: str
    """there is no display: a warning, and no film is written"""
    objectness_score: _Float
    """of bottom 3: boxes below this are background (RefineDet)"""

_DetectionOutputParameter: TypeAlias = _DetectionOutputParameterFields | Mapping[str, Any] | pb.DetectionOutputParameter

class _DistortionParameterFields(TypedDict, total=False):
    """Random changes of colour."""

    brightness_prob: _Float
    """probability that the brightness changes"""
    brightness_delta: _Float
    """what is added, drawn up to this, up or down"""
    contrast_prob: _Float
    """probability that the contrast changes"""
    contrast_lower: _Float
    """least factor"""
    contrast_upper: _Float
    """largest factor"""
    hue_prob: _Float
    """probability that the hue changes"""
    hue_delta: _Float
    """the same for the hue, in half degrees"""
    saturation_prob: _Float
    """probability that the saturation changes"""
    saturation_lower: _Float
    """least factor"""
    saturation_upper: _Float
    """largest factor"""
    random_order_prob: _Float
    """probability that the channels are shuffled"""

_DistortionParameter: TypeAlias = _DistortionParameterFields | Mapping[str, Any] | pb.DistortionParameter

class _DropoutParameterFields(TypedDict, total=False):
    """Fields of DropoutParameter."""

    dropout_ratio: _Float
    """probability of dropping an element"""
    scale_train: bool
    """false: TEST shrinks what TRAIN leaves as it is"""

_DropoutParameter: TypeAlias = _DropoutParameterFields | Mapping[str, Any] | pb.DropoutParameter

class _DummyDataParameterFields(TypedDict, total=False):
    """Constant or random data; num, channels, height and width are the older form of shape."""

    data_filler: _FillerParameter | Sequence[_FillerParameter]
    """one for all tops, or one for each; 0 by default"""
    shape: _BlobShape | Sequence[_BlobShape]
    """one for all tops, or one for each"""
    num: _Int | Sequence[_Int]
    """older form of shape"""
    channels: _Int | Sequence[_Int]
    """older form of shape"""
    height: _Int | Sequence[_Int]
    """older form of shape"""
    width: _Int | Sequence[_Int]
    """older form of shape"""

_DummyDataParameter: TypeAlias = _DummyDataParameterFields | Mapping[str, Any] | pb.DummyDataParameter

class _ELUParameterFields(TypedDict, total=False):
    """Fields of ELUParameter."""

    alpha: _Float
    """minus the limit far below 0"""

_ELUParameter: TypeAlias = _ELUParameterFields | Mapping[str, Any] | pb.ELUParameter

class _EltwiseParameterFields(TypedDict, total=False):
    """Fields of EltwiseParameter."""

    operation: _Int | Literal['PROD', 'SUM', 'MAX']
    """product, weighted sum or maximum"""
    coeff: _Float | Sequence[_Float]
    """SUM: one weight for each bottom, 1 by default"""
    stable_prod_grad: bool

_EltwiseParameter: TypeAlias = _EltwiseParameterFields | Mapping[str, Any] | pb.EltwiseParameter

class _EmbedParameterFields(TypedDict, total=False):
    """Fields of EmbedParameter."""

    num_output: _Int
    """numbers in a row"""
    input_dim: _Int
    """rows of the table: indices are below it"""
    bias_term: bool
    """add a bias"""
    weight_filler: _FillerParameter
    """start of the table, 0 by default"""
    bias_filler: _FillerParameter
    """start of the bias, 0 by default"""

_EmbedParameter: TypeAlias = _EmbedParameterFields | Mapping[str, Any] | pb.EmbedParameter

class _EmitConstraintFields(TypedDict, total=False):
    """Which boxes a window keeps."""

    emit_type: _Int | Literal['CENTER', 'MIN_OVERLAP']
    """CENTER: boxes with their centre in the window; MIN_OVERLAP: by emit_overlap"""
    emit_overlap: _Float
    """least part of a box in the window, which is then kept"""

_EmitConstraint: TypeAlias = _EmitConstraintFields | Mapping[str, Any] | pb.EmitConstraint

class _EvoNormS0ParameterFields(TypedDict, total=False):
    """Normalisation and activation of one sample in one layer."""

    num_groups: _Int
    """groups of channels that have a variance together"""
    eps: _Float
    """added to the variance"""
    scale_filler: _FillerParameter
    """of gamma, 1 by default"""
    bias_filler: _FillerParameter
    """of beta, 0 by default"""
    v_filler: _FillerParameter
    """of v, the slope inside the sigmoid, 1 by default"""

_EvoNormS0Parameter: TypeAlias = _EvoNormS0ParameterFields | Mapping[str, Any] | pb.EvoNormS0Parameter

class _ExpParameterFields(TypedDict, total=False):
    """Fields of ExpParameter."""

    base: _Float
    """-1 stands for e"""
    scale: _Float
    """of x"""
    shift: _Float
    """of x"""

_ExpParameter: TypeAlias = _ExpParameterFields | Mapping[str, Any] | pb.ExpParameter

class _ExpansionParameterFields(TypedDict, total=False):
    """Larger canvases."""

    prob: _Float
    """probability that the image gets a larger canvas"""
    max_expand_ratio: _Float
    """most times as wide and high"""

_ExpansionParameter: TypeAlias = _ExpansionParameterFields | Mapping[str, Any] | pb.ExpansionParameter

class _FRNParameterFields(TypedDict, total=False):
    """Filter response normalisation, with the maximum of the result and a learned threshold."""

    eps: _Float
    """added to the mean square"""
    threshold: bool
    """learn a threshold for each channel, below which nothing comes out"""
    scale_filler: _FillerParameter
    """of gamma, 1 by default"""
    bias_filler: _FillerParameter
    """of beta, 0 by default"""
    threshold_filler: _FillerParameter
    """of tau, 0 by default"""

_FRNParameter: TypeAlias = _FRNParameterFields | Mapping[str, Any] | pb.FRNParameter

class _FillerParameterFields(TypedDict, total=False):
    """How a learned blob is initialised."""

    type: str
    value: _Float
    min: _Float
    max: _Float
    mean: _Float
    std: _Float
    sparse: _Int
    """non-zero inputs per output; -1 for all"""
    variance_norm: _Int | Literal['FAN_IN', 'FAN_OUT', 'AVERAGE']
    alpha: _Float
    """of msra: the slope of the ReLU behind the layer, as in caffe-windows"""
    branches: _Int
    """of fixup: residual branches of the net"""
    branch_layers: _Int
    """of fixup: layers with weights in each branch"""

_FillerParameter: TypeAlias = _FillerParameterFields | Mapping[str, Any] | pb.FillerParameter

class _FlattenParameterFields(TypedDict, total=False):
    """Fields of FlattenParameter."""

    axis: _Int
    """first axis that is joined"""
    end_axis: _Int
    """last one; -1 is the last of all"""

_FlattenParameter: TypeAlias = _FlattenParameterFields | Mapping[str, Any] | pb.FlattenParameter

class _FlipParameterFields(TypedDict, total=False):
    """Mirrors images."""

    flip_width: bool
    """left and right exchanged"""
    flip_height: bool
    """top and bottom exchanged"""

_FlipParameter: TypeAlias = _FlipParameterFields | Mapping[str, Any] | pb.FlipParameter

class _FocalLossParameterFields(TypedDict, total=False):
    """Cross-entropy in which examples that are right already weigh little."""

    type: _Int | Literal['ORIGIN', 'LINEAR', 'ONEADDP']
    """only ORIGIN is offered"""
    gamma: _Float
    """power of 1 - p"""
    alpha: _Float
    """weight; of targets 0 it is 1 - alpha"""
    beta: _Float
    """of type LINEAR"""

_FocalLossParameter: TypeAlias = _FocalLossParameterFields | Mapping[str, Any] | pb.FocalLossParameter

class _GroupNormParameterFields(TypedDict, total=False):
    """Normalisation over groups of channels of one sample."""

    num_groups: _Int
    """groups of channels"""
    eps: _Float
    """added to the variance"""
    scale_bias: bool
    """learn a factor and a bias"""
    scale_filler: _FillerParameter
    bias_filler: _FillerParameter

_GroupNormParameter: TypeAlias = _GroupNormParameterFields | Mapping[str, Any] | pb.GroupNormParameter

class _HDF5DataParameterFields(TypedDict, total=False):
    """Fields of HDF5DataParameter."""

    source: str
    """text file that lists HDF5 files"""
    batch_size: _Int
    """rows in one pass"""
    shuffle: bool
    """new order of files and rows every epoch"""

_HDF5DataParameter: TypeAlias = _HDF5DataParameterFields | Mapping[str, Any] | pb.HDF5DataParameter

class _HDF5OutputParameterFields(TypedDict, total=False):
    """Fields of HDF5OutputParameter."""

    file_name: str
    """file to write"""

_HDF5OutputParameter: TypeAlias = _HDF5OutputParameterFields | Mapping[str, Any] | pb.HDF5OutputParameter

class _HingeLossParameterFields(TypedDict, total=False):
    """Fields of HingeLossParameter."""

    norm: _Int | Literal['L1', 'L2']
    """L1: sum of the violations, L2: of their squares"""

_HingeLossParameter: TypeAlias = _HingeLossParameterFields | Mapping[str, Any] | pb.HingeLossParameter

class _ImageDataParameterFields(TypedDict, total=False):
    """Fields of ImageDataParameter."""

    source: str
    """text file of lines: image label; or a folder with a folder for each class"""
    batch_size: _Int
    """images in one pass"""
    rand_skip: _Int
    """skip up to so many lines at the start"""
    shuffle: bool
    """new order every epoch"""
    new_height: _Int
    """resize to; 0: as the file is"""
    new_width: _Int
    """resize to; 0: as the file is"""
    is_color: bool
    """false: one channel of grey"""
    scale: _Float
    """older place of transform_param's"""
    mean_file: str
    """older place of transform_param's"""
    crop_size: _Int
    """older place of transform_param's"""
    mirror: bool
    """older place of transform_param's"""
    root_folder: str
    """put before each image's name"""
    label_type: _Int | Literal['NONE', 'IMAGE', 'PIXEL']
    """a line's second word: none, a label, a label map's file"""
    ignore_label: _Int
    """label where the image is padded, or where there is none"""
    new_length: _Int
    use_image: bool
    sampling_rate: _Int
    use_temporal_jitter: bool
    show_data: _Int

_ImageDataParameter: TypeAlias = _ImageDataParameterFields | Mapping[str, Any] | pb.ImageDataParameter

class _InfogainLossParameterFields(TypedDict, total=False):
    """Fields of InfogainLossParameter."""

    source: str
    """file of the matrix, where it is no third bottom"""
    axis: _Int
    """of the classes"""

_InfogainLossParameter: TypeAlias = _InfogainLossParameterFields | Mapping[str, Any] | pb.InfogainLossParameter

class _InnerProductParameterFields(TypedDict, total=False):
    """Fields of InnerProductParameter."""

    num_output: _Int
    """outputs of one example"""
    bias_term: bool
    """add a bias"""
    weight_filler: _FillerParameter
    """start of the weights, 0 by default"""
    bias_filler: _FillerParameter
    """start of the bias, 0 by default"""
    axis: _Int
    """axes from this one on are one vector"""
    transpose: bool
    """the weights are stored (inputs, outputs)"""
    relu: bool
    """Intel Caffe's: read as a ReLU layer in place behind this one"""
    negative_slope: _Float
    """of that ReLU"""

_InnerProductParameter: TypeAlias = _InnerProductParameterFields | Mapping[str, Any] | pb.InnerProductParameter

class _InputParameterFields(TypedDict, total=False):
    """Fields of InputParameter."""

    shape: _BlobShape | Sequence[_BlobShape]
    """one for all tops, or one for each"""

_InputParameter: TypeAlias = _InputParameterFields | Mapping[str, Any] | pb.InputParameter

class _InsanityParameterFields(TypedDict, total=False):
    """Randomised leaky ReLU."""

    lb: _Float
    """least number that values below 0 are divided by"""
    ub: _Float
    """largest one"""

_InsanityParameter: TypeAlias = _InsanityParameterFields | Mapping[str, Any] | pb.InsanityParameter

class _InstanceNormParameterFields(TypedDict, total=False):
    """Normalisation of one channel of one sample."""

    eps: _Float
    """added to the variance"""
    scale_bias: bool
    """learn a factor and a bias"""
    scale_filler: _FillerParameter
    bias_filler: _FillerParameter

_InstanceNormParameter: TypeAlias = _InstanceNormParameterFields | Mapping[str, Any] | pb.InstanceNormParameter

class _InterpParameterFields(TypedDict, total=False):
    """Bilinear resizing to a size, or by a factor."""

    height: _Int
    width: _Int
    zoom_factor: _Int
    shrink_factor: _Int
    pad_beg: _Int
    pad_end: _Int

_InterpParameter: TypeAlias = _InterpParameterFields | Mapping[str, Any] | pb.InterpParameter

class _L1LossParameterFields(TypedDict, total=False):
    """FlowNet's settings of L1Loss."""

    l2_per_location: bool
    """the length of the vector at each position, over the channels"""
    l2_prescale_by_channels: bool
    """divides the squares' sum by the number of channels"""
    normalize_by_num_entries: bool
    """divides by what is not NaN, not by the batch size"""
    epsilon: _Float
    """added to a sum of squares before the root"""
    plateau: _Float
    """smaller differences count as 0"""

_L1LossParameter: TypeAlias = _L1LossParameterFields | Mapping[str, Any] | pb.L1LossParameter

class _LRNParameterFields(TypedDict, total=False):
    """Fields of LRNParameter."""

    local_size: _Int
    """odd"""
    alpha: _Float
    """factor of the sum of squares"""
    beta: _Float
    """exponent"""
    norm_region: _Int | Literal['ACROSS_CHANNELS', 'WITHIN_CHANNEL']
    """neighbours are other channels, or other pixels"""
    k: _Float
    """added to the sum"""
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    """read, without effect: --engine chooses"""

_LRNParameter: TypeAlias = _LRNParameterFields | Mapping[str, Any] | pb.LRNParameter

class _LSTMParameterFields(TypedDict, total=False):
    """The LSTM of caffe-lstm (Lstm), whose sequences are rows."""

    num_output: _Int
    """size of the state"""
    clipping_threshold: _Float
    """limits each gradient of a gate before activation; 0: none"""
    weight_filler: _FillerParameter
    """start of the weights, 0 by default"""
    bias_filler: _FillerParameter
    """start of the biases, 0 by default"""
    batch_size: _Int
    """sequences side by side"""

_LSTMParameter: TypeAlias = _LSTMParameterFields | Mapping[str, Any] | pb.LSTMParameter

class _LabelSpecificAddParameterFields(TypedDict, total=False):
    """AM-Softmax's margin."""

    bias: _Float
    """added to the score of the own class; a margin m is -m"""
    transform_test: bool
    """in TEST too"""
    bias_base: _Float
    """instead of bias: bias_base + (1 + bias_gamma n)^bias_power - 1"""
    bias_gamma: _Float
    bias_power: _Float
    bias_min: _Float
    """limits of that"""
    bias_max: _Float
    iteration: _Int
    """n in the first iteration"""

_LabelSpecificAddParameter: TypeAlias = _LabelSpecificAddParameterFields | Mapping[str, Any] | pb.LabelSpecificAddParameter

class _LabelsequenceAccuracyParameterFields(TypedDict, total=False):
    """The fraction of label sequences that are read without a fault."""

    blank_label: _Int
    """class that stands for no label; negative: counted from the last one"""

_LabelsequenceAccuracyParameter: TypeAlias = _LabelsequenceAccuracyParameterFields | Mapping[str, Any] | pb.LabelsequenceAccuracyParameter

class _LargeMarginInnerProductParameterFields(TypedDict, total=False):
    """L-Softmax's inner product: the settings of SphereFace's."""

    num_output: _Int
    """classes"""
    type: _Int | Literal['SINGLE', 'DOUBLE', 'TRIPLE', 'QUADRUPLE']
    """SINGLE is no margin"""
    weight_filler: _FillerParameter
    axis: _Int
    """this axis and the following ones are the inputs"""
    base: _Float
    """lambda = max(base (1 + gamma n)^-power, lambda_min)"""
    gamma: _Float
    power: _Float
    iteration: _Int
    """n in the first iteration, less 1"""
    lambda_min: _Float

_LargeMarginInnerProductParameter: TypeAlias = _LargeMarginInnerProductParameterFields | Mapping[str, Any] | pb.LargeMarginInnerProductParameter

class _LayerNormParameterFields(TypedDict, total=False):
    """Normalisation of one sample over all axes from `axis` on."""

    axis: _Int
    """first axis of what is normalised"""
    eps: _Float
    """added to the variance"""
    scale_bias: bool
    """learn a factor and a bias"""
    scale_filler: _FillerParameter
    bias_filler: _FillerParameter

_LayerNormParameter: TypeAlias = _LayerNormParameterFields | Mapping[str, Any] | pb.LayerNormParameter

class _LocalParameterFields(TypedDict, total=False):
    """A convolution with weights of its own at each position."""

    num_output: _Int
    """channels of the top"""
    bias_term: bool
    """add a bias for each channel and position"""
    pad: _Int | Sequence[_Int]
    """zeros on each side, 0 by default"""
    kernel_size: _Int | Sequence[_Int]
    """one for all axes, or one for each"""
    stride: _Int | Sequence[_Int]
    """1 by default"""
    weight_filler: _FillerParameter
    """start of the weights, 0 by default"""
    bias_filler: _FillerParameter
    """start of the bias, 0 by default"""
    pad_h: _Int
    """instead of pad"""
    pad_w: _Int
    """instead of pad"""
    kernel_h: _Int
    """instead of kernel_size"""
    kernel_w: _Int
    """instead of kernel_size"""
    stride_h: _Int
    """instead of stride"""
    stride_w: _Int
    """instead of stride"""

_LocalParameter: TypeAlias = _LocalParameterFields | Mapping[str, Any] | pb.LocalParameter

class _LogParameterFields(TypedDict, total=False):
    """Fields of LogParameter."""

    base: _Float
    """-1 stands for e"""
    scale: _Float
    """of x"""
    shift: _Float
    """of x"""

_LogParameter: TypeAlias = _LogParameterFields | Mapping[str, Any] | pb.LogParameter

class _LossParameterFields(TypedDict, total=False):
    """Settings shared by the loss layers."""

    ignore_label: _Int
    """for losses with a label for each score: those with this label do not count"""
    normalization: _Int | Literal['FULL', 'VALID', 'BATCH_SIZE', 'NONE', 'PRE_FIXED']
    """what the sum is divided by"""
    normalize: bool
    """older form of normalization"""
    weight_by_label_freqs: bool
    """for SoftmaxWithLoss, with class_weighting"""
    class_weighting: _Float | Sequence[_Float]
    """for SoftmaxWithLoss, one per class"""
    pre_fixed_normalizer: _Float
    """what PRE_FIXED divides by"""

_LossParameter: TypeAlias = _LossParameterFields | Mapping[str, Any] | pb.LossParameter

class _MVNParameterFields(TypedDict, total=False):
    """Fields of MVNParameter."""

    normalize_variance: bool
    """false: subtract the mean only"""
    across_channels: bool
    """one mean for all channels of an item"""
    eps: _Float
    """added to the standard deviation"""

_MVNParameter: TypeAlias = _MVNParameterFields | Mapping[str, Any] | pb.MVNParameter

class _MarginInnerProductParameterFields(TypedDict, total=False):
    """SphereFace's inner product."""

    num_output: _Int
    """classes"""
    type: _Int | Literal['SINGLE', 'DOUBLE', 'TRIPLE', 'QUADRUPLE']
    """SINGLE is no margin"""
    weight_filler: _FillerParameter
    axis: _Int
    """this axis and the following ones are the inputs"""
    base: _Float
    """lambda = max(base (1 + gamma n)^-power, lambda_min)"""
    gamma: _Float
    power: _Float
    iteration: _Int
    """n in the first iteration, less 1"""
    lambda_min: _Float

_MarginInnerProductParameter: TypeAlias = _MarginInnerProductParameterFields | Mapping[str, Any] | pb.MarginInnerProductParameter

class _MaskResizeParameterFields(TypedDict, total=False):
    """Masks of another size (multi-task network cascades)."""

    output_width: _Int
    """of the masks that come out"""
    output_height: _Int
    """of the masks that come out"""

_MaskResizeParameter: TypeAlias = _MaskResizeParameterFields | Mapping[str, Any] | pb.MaskResizeParameter

class _MemoryDataParameterFields(TypedDict, total=False):
    """Fields of MemoryDataParameter."""

    batch_size: _Int
    """items in one pass"""
    channels: _Int
    """of an item"""
    height: _Int
    """of an item"""
    width: _Int
    """of an item"""

_MemoryDataParameter: TypeAlias = _MemoryDataParameterFields | Mapping[str, Any] | pb.MemoryDataParameter

class _MultiBoxLossParameterFields(TypedDict, total=False):
    """The loss of boxes and classes."""

    loc_loss_type: _Int | Literal['L2', 'SMOOTH_L1']
    """loss of offsets"""
    conf_loss_type: _Int | Literal['SOFTMAX', 'LOGISTIC']
    """loss of classes: softmax, or a sigmoid for each"""
    loc_weight: _Float
    """weight of the loss of offsets"""
    num_classes: _Int
    """with the background"""
    share_location: bool
    """one box for all classes, not one for each"""
    match_type: _Int | Literal['BIPARTITE', 'PER_PREDICTION']
    """PER_PREDICTION: any number of boxes for a label; BIPARTITE: one"""
    overlap_threshold: _Float
    """PER_PREDICTION: least overlap of a match"""
    use_prior_for_matching: bool
    """default boxes are matched; false: predicted ones"""
    background_label_id: _Int
    """the label of the background"""
    use_difficult_gt: bool
    """false: difficult labels do not count"""
    do_neg_mining: bool
    """older form of mining_type; false: NONE"""
    neg_pos_ratio: _Float
    """MAX_NEGATIVE: most negatives for each match"""
    neg_overlap: _Float
    """MAX_NEGATIVE: negatives have a smaller overlap with labels"""
    code_type: _Int | Literal['CORNER', 'CENTER_SIZE', 'CORNER_SIZE']
    """how offsets are coded"""
    encode_variance_in_target: bool
    """the loss of offsets is divided by variances, not the offsets"""
    map_object_to_agnostic: bool
    """all labels are class 1"""
    ignore_cross_boundary_bbox: bool
    """boxes that cross the border of the image do not count"""
    bp_inside: bool
    """coordinates outside of the image have no loss of offsets"""
    mining_type: _Int | Literal['NONE', 'MAX_NEGATIVE', 'HARD_EXAMPLE']
    """which boxes count in the loss of classes"""
    nms_param: _NonMaximumSuppressionParameter
    """with mining: of examples that overlap only the hardest counts"""
    sample_size: _Int
    """HARD_EXAMPLE: boxes of an image that count"""
    use_prior_for_nms: bool
    """nms_param compares default boxes; false: predicted ones"""
    objectness_score: _Float
    """of bottom 4: boxes below this are no hard examples (RefineDet)"""

_MultiBoxLossParameter: TypeAlias = _MultiBoxLossParameterFields | Mapping[str, Any] | pb.MultiBoxLossParameter

class _NetStateRuleFields(TypedDict, total=False):
    """A layer with such a rule belongs to the net only in the states the rule describes."""

    phase: _Int | Literal['TRAIN', 'TEST']
    min_level: _Int
    max_level: _Int
    stage: str | Sequence[str]
    not_stage: str | Sequence[str]

_NetStateRule: TypeAlias = _NetStateRuleFields | Mapping[str, Any] | pb.NetStateRule

class _NoiseParameterFields(TypedDict, total=False):
    """Changes of resized images, in TRAIN and TEST."""

    prob: _Float
    """part of the images that change; unset: all"""
    hist_eq: bool
    """even the histogram"""
    inverse: bool
    """the negative"""
    decolorize: bool
    """grey"""
    gauss_blur: bool
    """blur, 7 x 7 with a deviation of 1.5"""
    jpeg: _Float
    """quality, of JPEG and back; not positive: none"""
    posterize: bool
    """four levels of each channel"""
    erode: bool
    """the smallest value of each pixel and its neighbours"""
    saltpepper: bool
    """as saltpepper_param says"""
    saltpepper_param: _SaltPepperParameter
    """which pixels, and their value"""
    clahe: bool
    """even the histogram around each place, with a limit of 4"""
    convert_to_hsv: bool
    """the image as hue, saturation and value"""
    convert_to_lab: bool
    """not offered"""

_NoiseParameter: TypeAlias = _NoiseParameterFields | Mapping[str, Any] | pb.NoiseParameter

class _NoisyBNParameterFields(TypedDict, total=False):
    """Noise behind a batch normalisation that changes from step to step."""

    shift: _Float
    """largest mean shift of a channel, up or down"""
    scale_min: _Float
    """smallest mean scale of a channel"""
    scale_max: _Float
    """largest mean scale of a channel"""
    shift_spread: _Float
    """largest distance of an element's shift from its channel's"""
    scale_std: _Float
    """standard deviation of an element's scale around its channel's"""

_NoisyBNParameter: TypeAlias = _NoisyBNParameterFields | Mapping[str, Any] | pb.NoisyBNParameter

class _NonMaximumSuppressionParameterFields(TypedDict, total=False):
    """Of boxes that overlap only the best is kept."""

    nms_threshold: _Float
    """boxes with a larger overlap with one of a higher score are dropped"""
    top_k: _Int
    """boxes of the highest scores that are considered; unset: all"""
    eta: _Float
    """factor of a threshold above 0.5 after each box; for DetectionOutput alone, as in SSD"""

_NonMaximumSuppressionParameter: TypeAlias = _NonMaximumSuppressionParameterFields | Mapping[str, Any] | pb.NonMaximumSuppressionParameter

class _NormalizeParameterFields(TypedDict, total=False):
    """L2 normalisation with a learned scale."""

    across_spatial: bool
    """the norm of the whole item; false: of each position"""
    scale_filler: _FillerParameter
    """start of the scale; unset: 1"""
    channel_shared: bool
    """one scale; false: one for each channel"""
    eps: _Float
    """added to the sum of squares"""

_NormalizeParameter: TypeAlias = _NormalizeParameterFields | Mapping[str, Any] | pb.NormalizeParameter

class _PReLUParameterFields(TypedDict, total=False):
    """Fields of PReLUParameter."""

    filler: _FillerParameter
    """of the slopes, 0.25 by default"""
    channel_shared: bool
    """one slope for all channels"""

_PReLUParameter: TypeAlias = _PReLUParameterFields | Mapping[str, Any] | pb.PReLUParameter

class _PSROIPoolingParameterFields(TypedDict, total=False):
    """Position-sensitive average pooling of regions."""

    spatial_scale: _Float
    """from pixels of the image to those of the features"""
    output_dim: _Int
    """channels of the top"""
    group_size: _Int
    """bins along each side"""

_PSROIPoolingParameter: TypeAlias = _PSROIPoolingParameterFields | Mapping[str, Any] | pb.PSROIPoolingParameter

class _PadParameterFields(TypedDict, total=False):
    """Enlarges the two spatial axes."""

    pad_l: _Int
    pad_r: _Int
    pad_t: _Int
    pad_b: _Int
    mode: _Int | Literal['CONSTANT', 'REFLECT', 'EDGE']
    value: _Float

_PadParameter: TypeAlias = _PadParameterFields | Mapping[str, Any] | pb.PadParameter

class _ParamSpecFields(TypedDict, total=False):
    """Sharing name and multipliers of one learned blob."""

    name: str
    share_mode: _Int | Literal['STRICT', 'PERMISSIVE']
    lr_mult: _Float
    decay_mult: _Float

_ParamSpec: TypeAlias = _ParamSpecFields | Mapping[str, Any] | pb.ParamSpec

class _ParameterParameterFields(TypedDict, total=False):
    """Fields of ParameterParameter."""

    shape: _BlobShape
    """of the learned blob"""

_ParameterParameter: TypeAlias = _ParameterParameterFields | Mapping[str, Any] | pb.ParameterParameter

class _PermuteParameterFields(TypedDict, total=False):
    """Reorders the axes."""

    order: _Int | Sequence[_Int]
    """axes of the bottom, in the order of the top; others follow"""

_PermuteParameter: TypeAlias = _PermuteParameterFields | Mapping[str, Any] | pb.PermuteParameter

class _PoolingParameterFields(TypedDict, total=False):
    """Pooling over windows, or over the whole map."""

    pool: _Int | Literal['MAX', 'AVE', 'STOCHASTIC', 'AVE_EXC_PAD', 'AVE_TF']
    """maximum, mean or a random element"""
    pad: _Int
    """on each side"""
    pad_h: _Int
    """instead of pad"""
    pad_w: _Int
    """instead of pad"""
    kernel_size: _Int
    """of the window"""
    kernel_h: _Int
    """instead of kernel_size"""
    kernel_w: _Int
    """instead of kernel_size"""
    stride: _Int
    """step of the window"""
    stride_h: _Int
    """instead of stride"""
    stride_w: _Int
    """instead of stride"""
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    """read, without effect: --engine chooses"""
    global_pooling: bool
    """the window is the whole map"""
    round_mode: _Int | Literal['CEIL', 'FLOOR']
    """whether a last, partly covered window counts"""
    ceil_mode: bool
    """other spelling of round_mode"""
    pad_l: _Int
    """on the left"""
    pad_r: _Int
    """on the right"""
    pad_t: _Int
    """at the top"""
    pad_b: _Int
    """at the bottom"""
    avg_include_pad: bool
    """whether a mean counts the padding as zeros"""
    kernel_shape: _BlobShape
    """instead of kernel_size"""
    stride_shape: _BlobShape
    """instead of stride"""
    pad_shape: _BlobShape
    """instead of pad"""
    kernel_depth: _Int
    """C3D's: extent along the first of three axes"""
    temporal_stride: _Int
    """C3D's: stride along the first of three axes"""
    temporal_pad: _Int
    """C3D's: padding of the first of three axes"""
    kernel_size_3d: _Int | Sequence[_Int]
    """Intel Caffe's kernel_shape"""
    stride_3d: _Int | Sequence[_Int]
    """Intel Caffe's stride_shape"""
    pad_3d: _Int | Sequence[_Int]
    """Intel Caffe's pad_shape"""

_PoolingParameter: TypeAlias = _PoolingParameterFields | Mapping[str, Any] | pb.PoolingParameter

class _PowerParameterFields(TypedDict, total=False):
    """Fields of PowerParameter."""

    power: _Float
    """exponent"""
    scale: _Float
    """of x"""
    shift: _Float
    """of x"""

_PowerParameter: TypeAlias = _PowerParameterFields | Mapping[str, Any] | pb.PowerParameter

class _PriorBoxParameterFields(TypedDict, total=False):
    """Default boxes of each position of a feature map."""

    min_size: _Float | Sequence[_Float]
    """pixels of the image; each gives boxes"""
    max_size: _Float | Sequence[_Float]
    """one for each min_size: a further square of the geometric mean"""
    aspect_ratio: _Float | Sequence[_Float]
    """further boxes, width / height"""
    flip: bool
    """boxes of 1 / aspect_ratio as well"""
    clip: bool
    """limit boxes to the image"""
    variance: _Float | Sequence[_Float]
    """one or four; unset: 0.1"""
    img_size: _Int
    """size of the image; unset: that of bottom 1"""
    img_h: _Int
    """height of the image; with img_w"""
    img_w: _Int
    """width of the image; with img_h"""
    step: _Float
    """pixels between positions; unset: image / map"""
    step_h: _Float
    """along the height; with step_w"""
    step_w: _Float
    """along the width; with step_h"""
    offset: _Float
    """of the first centre, in positions"""

_PriorBoxParameter: TypeAlias = _PriorBoxParameterFields | Mapping[str, Any] | pb.PriorBoxParameter

class _ProposalParameterFields(TypedDict, total=False):
    """Regions from the scores and offsets of anchors, as caffe-windows and PVANet have them."""

    feat_stride: _Int
    """pixels of the image for one position of the feature map"""
    base_size: _Int
    """side of the square that ratio and scale change"""
    min_size: _Int
    """smallest side of a region, in pixels of the image before scaling"""
    ratio: _Float | Sequence[_Float]
    """height / width of anchors; unset: 0.5, 1, 2"""
    scale: _Float | Sequence[_Float]
    """factors of their sides; unset: 8, 16, 32"""
    pre_nms_topn: _Int
    """regions of the highest scores that are considered; 0: all"""
    post_nms_topn: _Int
    """regions that are kept; 0: all"""
    nms_thresh: _Float
    """overlap beyond which the region of the lower score is dropped"""

_ProposalParameter: TypeAlias = _ProposalParameterFields | Mapping[str, Any] | pb.ProposalParameter

class _ProposalTargetParameterFields(TypedDict, total=False):
    """A sample of regions with classes and targets, for training a detector; defaults of py-faster-rcnn."""

    num_classes: _Int
    """with the background, 0"""
    batch_size: _Int
    """regions of one image; -1: all"""
    fg_fraction: _Float
    """most of them that show an object"""
    fg_thresh: _Float
    """an object from this overlap with a true box"""
    bg_thresh_hi: _Float
    """background below this overlap"""
    bg_thresh_lo: _Float
    """and from this one"""
    class_agnostic: bool
    """one target for all objects, in the columns of class 1 (R-FCN)"""
    normalize_targets: bool
    """subtract bbox_mean, divide by bbox_std"""
    bbox_mean: _Float | Sequence[_Float]
    """of x, y, width and height; unset: 0"""
    bbox_std: _Float | Sequence[_Float]
    """unset: 0.1, 0.1, 0.2, 0.2"""
    inside_weight: _Float | Sequence[_Float]
    """four, of x, y, width and height; unset: 1"""

_ProposalTargetParameter: TypeAlias = _ProposalTargetParameterFields | Mapping[str, Any] | pb.ProposalTargetParameter

class _PythonParameterFields(TypedDict, total=False):
    """Fields of PythonParameter."""

    module: str
    """file without .py, found as imports are"""
    layer: str
    """class in it"""
    param_str: str
    """text that the class can read"""
    share_in_parallel: bool
    """read, without effect"""

_PythonParameter: TypeAlias = _PythonParameterFields | Mapping[str, Any] | pb.PythonParameter

class _RCNNDetectionOutputParameterFields(TypedDict, total=False):
    """Boxes from regions, their classes and offsets, as py-faster-rcnn finds them."""

    confidence_threshold: _Float
    """scores are larger"""
    nms_threshold: _Float
    """larger overlap with a box of a higher score and the same class"""
    keep_top_k: _Int
    """boxes of the image; -1: all"""
    bbox_mean: _Float | Sequence[_Float]
    """of offsets that were trained with normalize_targets; unset: 0"""
    bbox_std: _Float | Sequence[_Float]
    """unset: 1"""

_RCNNDetectionOutputParameter: TypeAlias = _RCNNDetectionOutputParameterFields | Mapping[str, Any] | pb.RCNNDetectionOutputParameter

class _ROIAlignParameterFields(TypedDict, total=False):
    """Averages regions of interest, without rounding."""

    pooled_h: _Int
    """bins along the height"""
    pooled_w: _Int
    """bins along the width"""
    spatial_scale: _Float
    """from pixels of the image to those of the features"""
    sampling_ratio: _Int
    """points along each side of a bin; as many as needed unless positive"""

_ROIAlignParameter: TypeAlias = _ROIAlignParameterFields | Mapping[str, Any] | pb.ROIAlignParameter

class _ROIPoolingParameterFields(TypedDict, total=False):
    """Max pooling of regions into a fixed grid."""

    pooled_h: _Int
    """bins along the height"""
    pooled_w: _Int
    """bins along the width"""
    spatial_scale: _Float
    """from pixels of the image to those of the features"""

_ROIPoolingParameter: TypeAlias = _ROIPoolingParameterFields | Mapping[str, Any] | pb.ROIPoolingParameter

class _ReLUParameterFields(TypedDict, total=False):
    """Fields of ReLUParameter."""

    negative_slope: _Float
    """factor of values below 0"""
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    """read, without effect: --engine chooses"""
    relu6: bool
    """also cut at 6"""

_ReLUParameter: TypeAlias = _ReLUParameterFields | Mapping[str, Any] | pb.ReLUParameter

class _RecurrentParameterFields(TypedDict, total=False):
    """Fields of RecurrentParameter."""

    num_output: _Int
    """size of the state"""
    weight_filler: _FillerParameter
    """start of the weights, 0 by default"""
    bias_filler: _FillerParameter
    """start of the biases, 0 by default"""
    debug_info: bool
    """log the size of the last states"""
    expose_hidden: bool
    """the first and last states are bottoms and tops"""

_RecurrentParameter: TypeAlias = _RecurrentParameterFields | Mapping[str, Any] | pb.RecurrentParameter

class _ReductionParameterFields(TypedDict, total=False):
    """Fields of ReductionParameter."""

    operation: _Int | Literal['SUM', 'ASUM', 'SUMSQ', 'MEAN']
    """sum, of magnitudes, of squares, or mean"""
    axis: _Int
    """from this axis on everything is one number"""
    coeff: _Float
    """factor of the result"""

_ReductionParameter: TypeAlias = _ReductionParameterFields | Mapping[str, Any] | pb.ReductionParameter

class _RegionLossParameterFields(TypedDict, total=False):
    """Fields of RegionLossParameter."""

    side: _Int
    """read, without effect: as the bottom has"""
    num_class: _Int
    """classes of objects"""
    bias_match: _Int
    """true boxes are compared with biases, not with found boxes"""
    coords: _Int
    """4 is what is offered"""
    num: _Int
    """anchors of each position"""
    softmax: _Int
    """1: one softmax of the classes; 0: a sigmoid for each"""
    jitter: _Float
    """read, without effect: of Darknet's data"""
    rescore: _Int
    """the target of an object is the overlap of its box, not 1"""
    object_scale: _Float
    """weight of the scores of anchors with an object"""
    class_scale: _Float
    """weight of the classes"""
    noobject_scale: _Float
    """weight of the scores of other anchors"""
    coord_scale: _Float
    """weight of the boxes"""
    absolute: _Int
    """read, without effect"""
    thresh: _Float
    """boxes with a larger overlap have no term for no object"""
    random: _Int
    """read, without effect: of Darknet's data"""
    biases: _Float | Sequence[_Float]
    """width and height of each anchor, in positions of the map"""
    softmax_tree: str
    """file with lines "name parent": a softmax for each group of siblings"""
    class_map: str
    """file with the class of each label in a line"""

_RegionLossParameter: TypeAlias = _RegionLossParameterFields | Mapping[str, Any] | pb.RegionLossParameter

class _ReorgParameterFields(TypedDict, total=False):
    """Moves blocks of positions between space and channels, as YOLOv2 does."""

    stride: _Int
    """extent of a block along height and width"""
    reverse: bool
    """from channels to space"""

_ReorgParameter: TypeAlias = _ReorgParameterFields | Mapping[str, Any] | pb.ReorgParameter

class _ReshapeParameterFields(TypedDict, total=False):
    """Fields of ReshapeParameter."""

    shape: _BlobShape
    """0 keeps the bottom's extent, a single -1 is worked out"""
    axis: _Int
    """first axis that is replaced"""
    num_axes: _Int
    """how many are; -1: all from axis on"""

_ReshapeParameter: TypeAlias = _ReshapeParameterFields | Mapping[str, Any] | pb.ReshapeParameter

class _ResizeParameterFields(TypedDict, total=False):
    """How images are resized."""

    prob: _Float
    """of several in transform_param, of which each batch follows one"""
    resize_mode: _Int | Literal['WARP', 'FIT_SMALL_SIZE', 'FIT_LARGE_SIZE_AND_PAD']
    """WARP stretches, FIT_SMALL_SIZE keeps the shape, FIT_LARGE_SIZE_AND_PAD pads it"""
    height: _Int
    """of the image that comes out"""
    width: _Int
    """of the image that comes out"""
    height_scale: _Int
    """FIT_SMALL_SIZE: boxes are in units of width_scale by height_scale pixels"""
    width_scale: _Int
    """given together with height_scale"""
    pad_mode: _Int | Literal['CONSTANT', 'MIRRORED', 'REPEAT_NEAREST']
    """what padding consists of"""
    pad_value: _Float | Sequence[_Float]
    """CONSTANT: one for each channel, or one for all; unset: 0"""
    interp_mode: _Int | Literal['LINEAR', 'AREA', 'NEAREST', 'CUBIC', 'LANCZOS4'] | Sequence[_Int | Literal['LINEAR', 'AREA', 'NEAREST', 'CUBIC', 'LANCZOS4']]
    """one of these is drawn for each image; unset: LINEAR"""

_ResizeParameter: TypeAlias = _ResizeParameterFields | Mapping[str, Any] | pb.ResizeParameter

class _ReverseParameterFields(TypedDict, total=False):
    """Flips the order along the named axes."""

    axis: _Int | Sequence[_Int]

_ReverseParameter: TypeAlias = _ReverseParameterFields | Mapping[str, Any] | pb.ReverseParameter

class _RoIDataParameterFields(TypedDict, total=False):
    """Images with true boxes, one at a time; defaults of py-faster-rcnn."""

    source: str
    """a folder of VOC, or an LMDB of AnnotatedDatum records"""
    image_set: str
    """of a VOC folder: the list in ImageSets/Main"""
    label_map_file: str
    """of a VOC folder: labels of names; unset: VOC's 20 classes, from 1"""
    num_classes: _Int
    """with the background, to check; 0: any"""
    scale: _Int | Sequence[_Int]
    """length of the short side, one of these at random; unset: 600"""
    max_size: _Int
    """limit of the long side"""
    use_flipped: bool
    """TRAIN: all images also flipped, left to right"""
    shuffle: bool
    """TRAIN: a new order in each epoch"""
    use_difficult: bool
    """keep difficult boxes"""
    pixel_mean: _Float | Sequence[_Float]
    """blue, green, red; unset: 102.9801, 115.9465, 122.7717"""
    region_file: str
    """of RegionData: HDF5, for each image a dataset of its name, rows x1, y1, x2, y2 in its pixels"""

_RoIDataParameter: TypeAlias = _RoIDataParameterFields | Mapping[str, Any] | pb.RoIDataParameter

class _SPPParameterFields(TypedDict, total=False):
    """Fields of SPPParameter."""

    pyramid_height: _Int
    """levels: 1, 2, 4, .. windows a side"""
    pool: _Int | Literal['MAX', 'AVE', 'STOCHASTIC']
    """maximum, mean or a random element"""
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    """read, without effect: --engine chooses"""

_SPPParameter: TypeAlias = _SPPParameterFields | Mapping[str, Any] | pb.SPPParameter

class _SaltPepperParameterFields(TypedDict, total=False):
    """Pixels of a fixed value."""

    fraction: _Float
    """of the pixels that change"""
    value: _Float | Sequence[_Float]
    """what they become: one for each channel, or one for all"""

_SaltPepperParameter: TypeAlias = _SaltPepperParameterFields | Mapping[str, Any] | pb.SaltPepperParameter

class _SampleConstraintFields(TypedDict, total=False):
    """What one object of a window has to meet."""

    min_jaccard_overlap: _Float
    """least intersection over union of the window and an object"""
    max_jaccard_overlap: _Float
    """largest one"""
    min_sample_coverage: _Float
    """least part of the window that an object covers"""
    max_sample_coverage: _Float
    """largest one"""
    min_object_coverage: _Float
    """least part of an object in the window"""
    max_object_coverage: _Float
    """largest one"""

_SampleConstraint: TypeAlias = _SampleConstraintFields | Mapping[str, Any] | pb.SampleConstraint

class _SamplerFields(TypedDict, total=False):
    """Fields of Sampler."""

    min_scale: _Float
    """least root of a window's area, in parts of the image"""
    max_scale: _Float
    """largest one, at most 1"""
    min_aspect_ratio: _Float
    """least width / height"""
    max_aspect_ratio: _Float
    """largest one"""

_Sampler: TypeAlias = _SamplerFields | Mapping[str, Any] | pb.Sampler

class _SaveOutputParameterFields(TypedDict, total=False):
    """Files of detections."""

    output_directory: str
    """folder of the files; unset: none are written"""
    output_name_prefix: str
    """beginning of their names"""
    output_format: str
    """VOC, COCO or ILSVRC"""
    label_map_file: str
    """names of the labels"""
    name_size_file: str
    """lines "name height width" of the images, in their order"""
    num_test_image: _Int
    """images before the files are written; unset: as many as name_size_file has"""
    resize_param: _ResizeParameter
    """how the images were resized"""

_SaveOutputParameter: TypeAlias = _SaveOutputParameterFields | Mapping[str, Any] | pb.SaveOutputParameter

class _ScaleParameterFields(TypedDict, total=False):
    """Fields of ScaleParameter."""

    axis: _Int
    """the factors lie on the axes from this one on"""
    num_axes: _Int
    """how many axes they have; -1: all from axis on"""
    filler: _FillerParameter
    """of the factors, 1 by default"""
    bias_term: bool
    """add a bias as well"""
    bias_filler: _FillerParameter
    """of the bias, 0 by default"""

_ScaleParameter: TypeAlias = _ScaleParameterFields | Mapping[str, Any] | pb.ScaleParameter

class _SeLUParameterFields(TypedDict, total=False):
    """Self-normalising exponential unit."""

    alpha: _Float
    """factor of exp(x) - 1 below 0"""

_SeLUParameter: TypeAlias = _SeLUParameterFields | Mapping[str, Any] | pb.SeLUParameter

class _ShuffleChannelParameterFields(TypedDict, total=False):
    """Transposes channels between groups."""

    group: _Int

_ShuffleChannelParameter: TypeAlias = _ShuffleChannelParameterFields | Mapping[str, Any] | pb.ShuffleChannelParameter

class _SliceParameterFields(TypedDict, total=False):
    """Fields of SliceParameter."""

    axis: _Int
    """of cutting; -1 is the last"""
    slice_point: _Int | Sequence[_Int]
    """where to cut; unset: into equal parts"""
    slice_dim: _Int
    """older form of axis"""

_SliceParameter: TypeAlias = _SliceParameterFields | Mapping[str, Any] | pb.SliceParameter

class _SmoothL1LossParameterFields(TypedDict, total=False):
    """Quadratic below 1/sigma^2, linear above."""

    sigma: _Float
    """the loss is quadratic below 1 / sigma^2"""

_SmoothL1LossParameter: TypeAlias = _SmoothL1LossParameterFields | Mapping[str, Any] | pb.SmoothL1LossParameter

class _SoftmaxParameterFields(TypedDict, total=False):
    """Fields of SoftmaxParameter."""

    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    """read, without effect: --engine chooses"""
    axis: _Int
    """of the classes"""

_SoftmaxParameter: TypeAlias = _SoftmaxParameterFields | Mapping[str, Any] | pb.SoftmaxParameter

class _SpatialDropoutParameterFields(TypedDict, total=False):
    """Dropout of whole channels."""

    dropout_ratio: _Float
    """probability that a channel is dropped"""

_SpatialDropoutParameter: TypeAlias = _SpatialDropoutParameterFields | Mapping[str, Any] | pb.SpatialDropoutParameter

class _SqueezeParameterFields(TypedDict, total=False):
    """Removes the named axes of extent 1; all of them when none is named."""

    axis: _Int | Sequence[_Int]

_SqueezeParameter: TypeAlias = _SqueezeParameterFields | Mapping[str, Any] | pb.SqueezeParameter

class _SumParameterFields(TypedDict, total=False):
    """Sums over axes."""

    axis: _Int | Sequence[_Int]
    """all of them when none is named"""
    keepdims: bool
    """whether the axes stay, with extents of 1"""

_SumParameter: TypeAlias = _SumParameterFields | Mapping[str, Any] | pb.SumParameter

class _SwishParameterFields(TypedDict, total=False):
    """Fields of SwishParameter."""

    beta: _Float
    """of x * sigmoid(beta * x)"""

_SwishParameter: TypeAlias = _SwishParameterFields | Mapping[str, Any] | pb.SwishParameter

class _ThresholdParameterFields(TypedDict, total=False):
    """Fields of ThresholdParameter."""

    threshold: _Float
    """1 above it, else 0"""

_ThresholdParameter: TypeAlias = _ThresholdParameterFields | Mapping[str, Any] | pb.ThresholdParameter

class _TileParameterFields(TypedDict, total=False):
    """Fields of TileParameter."""

    axis: _Int
    """of repetition"""
    tiles: _Int
    """how often"""

_TileParameter: TypeAlias = _TileParameterFields | Mapping[str, Any] | pb.TileParameter

class _TransformationParameterFields(TypedDict, total=False):
    """What is done to an image between the database and the net."""

    scale: _Float
    """factor, after the mean is taken off"""
    mirror: bool
    """flip half of the images, at random"""
    crop_size: _Int
    """side of a cut: at random in TRAIN, in the middle in TEST; 0: none"""
    mean_file: str
    """mean image to take off"""
    mean_value: _Float | Sequence[_Float]
    """instead of it: one for all channels, or one for each"""
    force_color: bool
    """make images of one channel colour"""
    force_gray: bool
    """make colour images grey"""
    resize_param: _ResizeParameter | Sequence[_ResizeParameter]
    """how images are resized; of several each batch follows one"""
    noise_param: _NoiseParameter
    """changes of resized images"""
    emit_constraint: _EmitConstraint
    """which boxes a window keeps"""
    crop_h: _Int
    """height of a cut, instead of crop_size, with crop_w"""
    crop_w: _Int
    """width of a cut, with crop_h"""
    distort_param: _DistortionParameter
    """random changes of colour"""
    expand_param: _ExpansionParameter
    """larger canvases"""
    zero_pad: _Int
    """zeros on each side, after the mean; crop_size takes its window from what results"""
    cutout: _Int
    """side of a square that becomes zero, after all else; 0: none"""
    brightness: _Float
    """b multiplies values by a factor from [1 - b, 1 + b]"""
    contrast: _Float
    """the same for differences from the image's mean grey"""
    saturation: _Float
    """the same for differences from each pixel's grey"""
    scale_factors: _Float | Sequence[_Float]
    """resize by one of these factors, chosen at random"""
    crop_width: _Int
    """instead of crop_size, with crop_height"""
    crop_height: _Int
    """instead of crop_size, with crop_width"""

_TransformationParameter: TypeAlias = _TransformationParameterFields | Mapping[str, Any] | pb.TransformationParameter

class _TransposeParameterFields(TypedDict, total=False):
    """Reorders all axes."""

    dim: _Int | Sequence[_Int]
    """for each axis of the top, the axis of the bottom"""

_TransposeParameter: TypeAlias = _TransposeParameterFields | Mapping[str, Any] | pb.TransposeParameter

class _TripletLossParameterFields(TypedDict, total=False):
    """Distances of an anchor to a positive and to a negative."""

    margin: _Float

_TripletLossParameter: TypeAlias = _TripletLossParameterFields | Mapping[str, Any] | pb.TripletLossParameter

class _UpsampleParameterFields(TypedDict, total=False):
    """Enlarging by repetition (one bottom) or by the positions of a max pooling (two bottoms)."""

    scale: _Int
    """forks differ in what unset means: see the layer"""
    scale_h: _Int
    """instead of scale, along the height"""
    scale_w: _Int
    """instead of scale, along the width"""
    pad_out_h: bool
    """two bottoms: one row less"""
    pad_out_w: bool
    """two bottoms: one column less"""
    upsample_h: _Int
    """two bottoms: the height itself, with upsample_w"""
    upsample_w: _Int
    """two bottoms: the width itself, with upsample_h"""

_UpsampleParameter: TypeAlias = _UpsampleParameterFields | Mapping[str, Any] | pb.UpsampleParameter

class _VideoDataParameterFields(TypedDict, total=False):
    """Clips of videos, from folders of frames or from video files, as C3D, video-caffe and yjxiong list them."""

    source: str
    """text file of lines: folder or video, first frame or number of frames, label"""
    batch_size: _Int
    """clips in one pass"""
    rand_skip: _Int
    """skip up to so many lines at the start"""
    shuffle: bool
    """new order every epoch"""
    new_height: _Int
    """resize frames to; 0: as they are"""
    new_width: _Int
    """resize frames to; 0: as they are"""
    new_length: _Int
    """frames of a clip, or of each segment"""
    num_segments: _Int
    """equal parts of a video, each with frames of its own (yjxiong)"""
    modality: _Int | Literal['RGB', 'FLOW']
    """colours, or flow: two grey images for each frame (yjxiong)"""
    name_pattern: str
    """names of frames, as image_%04d.jpg or flow_%c_%04d.jpg; unset: by their numbers"""
    scale: _Float
    """older place of transform_param's"""
    mean_file: str
    """older place of transform_param's"""
    crop_size: _Int
    """older place of transform_param's"""
    mirror: bool
    """older place of transform_param's"""
    root_folder: str
    """put before each name"""
    is_color: bool
    """false: one channel of grey"""
    use_image: bool
    """the list names folders of frames (C3D); unset: what is there decides"""
    sampling_rate: _Int
    """distance of the frames of a clip"""
    use_temporal_jitter: bool
    """TRAIN: begin at a random frame"""
    video_type: _Int | Literal['WEBCAM', 'VIDEO']
    """SSD's: VIDEO reads video_file"""
    video_file: str
    """SSD's: one video, frame by frame; batch_size is then data_param's"""
    skip_frames: _Int
    """frames left out before each one that is taken (SSD)"""
    device_id: _Int
    """SSD's, of a camera"""

_VideoDataParameter: TypeAlias = _VideoDataParameterFields | Mapping[str, Any] | pb.VideoDataParameter

class _WindowDataParameterFields(TypedDict, total=False):
    """Fields of WindowDataParameter."""

    source: str
    """text file of images and their windows"""
    scale: _Float
    """older place of transform_param's"""
    mean_file: str
    """older place of transform_param's"""
    batch_size: _Int
    """windows in one pass"""
    crop_size: _Int
    """side to which windows are warped"""
    mirror: bool
    """older place of transform_param's"""
    fg_threshold: _Float
    """overlap from which a window is an object"""
    bg_threshold: _Float
    """overlap below which it is background"""
    fg_fraction: _Float
    """share of objects in a batch"""
    context_pad: _Int
    """pixels of surroundings in the warped window"""
    crop_mode: str
    """warp, or square: keep the proportions"""
    cache_images: bool
    root_folder: str
    """put before each image's name"""

_WindowDataParameter: TypeAlias = _WindowDataParameterFields | Mapping[str, Any] | pb.WindowDataParameter

class _YoloDetectionOutputParameterFields(TypedDict, total=False):
    """Fields of YoloDetectionOutputParameter."""

    side: _Int
    """read, without effect: as the bottom has"""
    num_classes: _Int
    """classes of objects"""
    num_box: _Int
    """anchors of each position"""
    coords: _Int
    """4 is what is offered"""
    confidence_threshold: _Float
    """least score"""
    nms_threshold: _Float
    """overlap from which the box of the lower score is dropped"""
    biases: _Float | Sequence[_Float]
    """width and height of each anchor, in positions of the map"""
    label_map_file: str
    """names of the classes; read, without effect"""

_YoloDetectionOutputParameter: TypeAlias = _YoloDetectionOutputParameterFields | Mapping[str, Any] | pb.YoloDetectionOutputParameter

class _Yolov3DetectionOutputParameterFields(TypedDict, total=False):
    """Fields of Yolov3DetectionOutputParameter."""

    num_classes: _Int
    """classes of objects"""
    num_box: _Int
    """anchors of each position"""
    confidence_threshold: _Float
    """scores are larger"""
    nms_threshold: _Float
    """overlap from which the box of the lower score is dropped"""
    biases: _Float | Sequence[_Float]
    """width and height of all anchors, in pixels"""
    anchors_scale: _Int | Sequence[_Int]
    """pixels of the image for one position, of each bottom"""
    mask_group_num: _Int
    """bottoms"""
    mask: _Int | Sequence[_Int]
    """anchors of the bottoms, one after another"""
    gaussian_box: bool
    """each number of a box has a deviation behind it (Gaussian YOLO)"""

_Yolov3DetectionOutputParameter: TypeAlias = _Yolov3DetectionOutputParameterFields | Mapping[str, Any] | pb.Yolov3DetectionOutputParameter

class _Yolov3ParameterFields(TypedDict, total=False):
    """Fields of Yolov3Parameter."""

    side: _Int
    """read, without effect: as the bottom has"""
    num_class: _Int
    """classes of objects"""
    num: _Int
    """anchors of each position"""
    object_scale: _Float
    """weight of the scores of anchors with an object"""
    class_scale: _Float
    """weight of the classes"""
    noobject_scale: _Float
    """weight of the scores of other anchors"""
    coord_scale: _Float
    """weight of the boxes"""
    thresh: _Float
    """boxes with a larger overlap have no term for no object"""
    anchors_scale: _Int
    """pixels of the image for one position of the map"""
    biases: _Float | Sequence[_Float]
    """width and height of all anchors, in pixels"""
    mask: _Int | Sequence[_Int]
    """those of this map; unset: the first"""
    use_logic_gradient: bool
    """squared errors, not cross-entropies"""
    use_focal_loss: bool
    """of the classes"""
    iou_loss: _Int | Literal['IOU', 'GIOU', 'MSE', 'DIOU', 'CIOU']
    """of the box; not of GaussianYolov3"""
    iou_normalizer: _Float
    """weight of an overlap as the loss of a box, and of GaussianYolov3's boxes"""
    iou_thresh: _Float
    """further anchors of a true box have a larger overlap with its shape"""
    max_delta: _Float
    """largest gradient of a box by its overlap, and of GaussianYolov3's boxes"""
    accumulate: bool
    """boxes of one anchor add up; false: the last one counts"""
    label_smooth_eps: _Float
    """targets of classes are e / 2 and 1 - e / 2; not of GaussianYolov3"""

_Yolov3Parameter: TypeAlias = _Yolov3ParameterFields | Mapping[str, Any] | pb.Yolov3Parameter

class _AbsVal(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def AbsVal(*bottoms: Top, ntop: int = 1, **settings: Unpack[_AbsVal]) -> Top:
    """y = |x|; the derivative at 0 is 0.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Accuracy(TypedDict, total=False):
    name: str
    in_place: bool
    top_k: _Int
    axis: _Int
    ignore_label: _Int
    accuracy_param: _AccuracyParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Accuracy(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Accuracy]) -> Any:
    """The fraction of labels whose score is among the `top_k` highest along `axis`; a second top has it for each class.

    Bottoms: scores (outer, classes, inner) and labels (outer, inner); a label equal to `ignore_label` does not count. A
    class whose score equals that of the label counts as better, so a net with equal scores for all classes has accuracy
    0. NaN is never correct.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        top_k: right if the label is among so many best (default 1)
        axis: of the classes (default 1)
        ignore_label: examples with this label do not count
        accuracy_param: settings as a dict, or a AccuracyParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Add(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Add(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Add]) -> Top:
    """The sum of the bottoms; axes of extent 1 in all but the first bottom are broadcast.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _AnchorTarget(TypedDict, total=False):
    name: str
    in_place: bool
    feat_stride: _Int
    base_size: _Int
    ratio: _Float | Sequence[_Float]
    scale: _Float | Sequence[_Float]
    allowed_border: _Float
    batch_size: _Int
    fg_fraction: _Float
    positive_overlap: _Float
    negative_overlap: _Float
    clobber_positives: bool
    positive_weight: _Float
    inside_weight: _Float | Sequence[_Float]
    anchor_target_param: _AnchorTargetParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def AnchorTarget(*bottoms: Top, ntop: int = 1, **settings: Unpack[_AnchorTarget]) -> Any:
    """Labels and regression targets of the anchors of a region proposal network (Faster R-CNN, Ren et al. 2015).

    Bottoms: a map (1, C, H, W) of which the size counts, gt_boxes (G, 5) with x1, y1, x2, y2 in pixels and a class,
    im_info (height, width, scale), and optionally the image, which is not read. Tops: labels (1, 1, A * H, W), which
    are 1, 0 or -1 (does not count); targets, inside weights and outside weights (1, 4 * A, H, W), for SmoothL1Loss.

    An anchor within the image is positive if it has the largest overlap with a true box, or one of positive_overlap;
    negative if all its overlaps are below negative_overlap. At random, batch_size of them get a label. Outside weights
    are 1 / number of labels. As a Python layer, rpn.anchor_target_layer.AnchorTargetLayer of py-faster-rcnn.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        feat_stride: pixels of the image for one position of the feature map (default 16)
        base_size: side of the square that ratio and scale change (default 16)
        ratio: height / width of anchors; unset: 0.5, 1, 2
        scale: factors of their sides; unset: 8, 16, 32
        allowed_border: anchors further outside of the image are left out (default 0)
        batch_size: anchors with a label, of one image (default 256)
        fg_fraction: most of them that are positive (default 0.5)
        positive_overlap: positive from this overlap with a true box (default 0.7)
        negative_overlap: negative below this overlap with all of them (default 0.3)
        clobber_positives: negative, if an anchor is both (default false)
        positive_weight: weight of all positive boxes together, in (0, 1); below 0: all alike (default -1)
        inside_weight: four, of x, y, width and height; unset: 1
        anchor_target_param: settings as a dict, or a AnchorTargetParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _AnnotatedData(TypedDict, total=False):
    name: str
    in_place: bool
    batch_sampler: _BatchSampler | Sequence[_BatchSampler]
    label_map_file: str
    anno_type: _Int | Literal['BBOX']
    yolo_data_type: _Int
    yolo_data_jitter: _Float
    train_diffcult: bool
    source: str
    batch_size: _Int
    rand_skip: _Int
    backend: _Int | Literal['LEVELDB', 'LMDB']
    scale: _Float
    mean_file: str
    crop_size: _Int
    mirror: bool
    force_encoded_color: bool
    prefetch: _Int
    shuffle: bool
    random_order: bool
    mean_value: _Float | Sequence[_Float]
    force_color: bool
    force_gray: bool
    resize_param: _ResizeParameter | Sequence[_ResizeParameter]
    noise_param: _NoiseParameter
    emit_constraint: _EmitConstraint
    crop_h: _Int
    crop_w: _Int
    distort_param: _DistortionParameter
    expand_param: _ExpansionParameter
    zero_pad: _Int
    cutout: _Int
    brightness: _Float
    contrast: _Float
    saturation: _Float
    scale_factors: _Float | Sequence[_Float]
    crop_width: _Int
    crop_height: _Int
    annotated_data_param: _AnnotatedDataParameter
    data_param: _DataParameter
    transform_param: _TransformationParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def AnnotatedData(*bottoms: Top, ntop: int = 1, **settings: Unpack[_AnnotatedData]) -> Any:
    """Images with boxes from a database of AnnotatedDatum records (`dragon convert-annoset`), changed as SSD does it.

    Tops: data (batch_size, C, h, w), blue first, and label (1, 1, boxes of the batch, 8): index of the image in the
    batch, label, instance, xmin, ymin, xmax, ymax in fractions of the image, difficult. A batch without boxes has one
    row of -1. Records without a type have a label each: (batch_size, 1, 1, 1). With `yolo_data_type: 1` labels are
    MobileNet-YOLO's, (batch_size, 1, 300, 5): class from 0, x, y, width, height, then zeros; without difficult boxes if
    `train_diffcult: false`.

    In this order: distort_param, expand_param, a window that one of `batch_sampler` found, resize_param, noise_param,
    crop, mirror, mean and scale. Of several resize_param each batch follows one, by their `prob`. emit_constraint says
    which boxes a window keeps. All random numbers come from the layer's stream: they depend on the seed and the image's
    place in the run, not on the number of threads.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        batch_sampler: each finds windows; one of all that were found is cut out
        label_map_file: names of the labels; read, to find faults, and without further effect
        anno_type: BBOX: records without a type are an error
        yolo_data_type: 1: labels (N, 1, 300, 5) of MobileNet-YOLO, and a window as it draws them (default 0)
        yolo_data_jitter: most of a side that the window leaves out, where there is no batch_sampler (default 0.3)
        train_diffcult: difficult boxes are in the labels of yolo_data_type: 1; spelled so (default true)
        source: folder of the database
        batch_size: images in one pass
        rand_skip: skip up to so many records at the start (default 0)
        backend: kind of the database (default LEVELDB)
        scale: older place of transform_param's (default 1)
        mean_file: older place of transform_param's
        crop_size: older place of transform_param's (default 0)
        mirror: older place of transform_param's (default false)
        force_encoded_color (default false)
        prefetch (default 4)
        shuffle: new order of records every epoch (default false)
        random_order: Tongcheng's name of shuffle (default false)
        mean_value: instead of it: one for all channels, or one for each
        force_color: make images of one channel colour (default false)
        force_gray: make colour images grey (default false)
        resize_param: how images are resized; of several each batch follows one
        noise_param: changes of resized images
        emit_constraint: which boxes a window keeps
        crop_h: height of a cut, instead of crop_size, with crop_w (default 0)
        crop_w: width of a cut, with crop_h (default 0)
        distort_param: random changes of colour
        expand_param: larger canvases
        zero_pad: zeros on each side, after the mean; crop_size takes its window from what results (default 0)
        cutout: side of a square that becomes zero, after all else; 0: none (default 0)
        brightness: b multiplies values by a factor from [1 - b, 1 + b] (default 0)
        contrast: the same for differences from the image's mean grey (default 0)
        saturation: the same for differences from each pixel's grey (default 0)
        scale_factors: resize by one of these factors, chosen at random
        crop_width: instead of crop_size, with crop_height (default 0)
        crop_height: instead of crop_size, with crop_width (default 0)
        annotated_data_param: settings as a dict, or a AnnotatedDataParameter
        data_param: settings as a dict, or a DataParameter
        transform_param: settings as a dict, or a TransformationParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _ArgMax(TypedDict, total=False):
    name: str
    in_place: bool
    out_max_val: bool
    top_k: _Int
    axis: _Int
    argmax_param: _ArgMaxParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def ArgMax(*bottoms: Top, ntop: int = 1, **settings: Unpack[_ArgMax]) -> Top:
    """The indices or values of the `top_k` largest elements, largest first; ties go to the higher index, as in Caffe.

    Without `axis` each item is flattened: the top is (N, 1, top_k) with the indices or, with `out_max_val`, (N, 2,
    top_k) with the values in the second row. With `axis`, that axis shrinks to top_k and holds the indices or, with
    `out_max_val`, the values.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        out_max_val: give the values, not only where they are (default false)
        top_k: how many (default 1)
        axis: along this axis; unset: over the whole item
        argmax_param: settings as a dict, or a ArgMaxParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Axpy(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Axpy(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Axpy]) -> Top:
    """top = a * x + y with one factor a for each channel of each item (squeeze and excitation, Hu et al. 2018).

    Bottoms: a (N, C) or (N, C, 1, 1), x and y (N, C, ...).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _BN(TypedDict, total=False):
    name: str
    in_place: bool
    use_global_stats: bool
    moving_average_fraction: _Float
    eps: _Float
    scale_filler: _FillerParameter
    bias_filler: _FillerParameter
    scale_bias: bool
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    decay: _Float
    average: _Int | Literal['CAFFE', 'EMA', 'CUMULATIVE', 'LATEST']
    relu: bool
    ghost_batch: _Int
    gradient_through_statistics: bool
    slope_filler: _FillerParameter
    momentum: _Float
    frozen: bool
    shift_filler: _FillerParameter
    bn_mode: _Int | Literal['LEARN', 'INFERENCE']
    batch_norm_param: _BatchNormParameter
    bn_param: _BNParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def BN(*bottoms: Top, ntop: int = 1, **settings: Unpack[_BN]) -> Top:
    """Batch normalisation in the merged form: statistics, scale and shift in one layer.

    Blobs: gamma (C), beta (C), mean (C), variance (C), weight of the average (1). The running average follows the rule
    EMA with `decay` unless `average` names another.

    With `bn_param` it is the layer BN of the forks for temporal segment and pyramid scene parsing networks: blobs
    slope, bias, mean, variance of shape (1, C, 1, 1), a running average with `momentum`, and `frozen` to normalise by
    the stored statistics in TRAIN, where gamma and beta then stay as they are. With SegNet's settings in `bn_param` it
    is `SegNetBN`, with the profile "neopenx" `NeopenxBN`.

    Of several ranks that train together each normalises by its own rows; by those of all with the type SyncBN, as in
    forks for several devices, or with `dragon train --sync-bn`.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        use_global_stats: by the running statistics; unset: true in TEST, false in TRAIN (default by phase)
        moving_average_fraction: weight of the history in the running average (default unset)
        eps: added to the variance (default 1e-05)
        scale_filler: of gamma, 1 by default
        bias_filler: of beta, 0 by default
        scale_bias: learn scale and bias in the same layer (default false)
        engine: read, without effect: --engine chooses (default DEFAULT)
        decay: another name for moving_average_fraction, with BN's default (default 0.95)
        average: rule of the running average; unset: CAFFE for BatchNorm, EMA for BN (default EMA)
        relu: Intel Caffe's: read as a ReLU layer in place behind this one (default false)
        ghost_batch: TRAIN: statistics of so many items at a time; 0: of all (default 0)
        gradient_through_statistics: false: backward takes them as constants (default true)
        slope_filler: of gamma, 1 by default
        momentum: weight of the history in the running average (default 0.9)
        frozen: use stored statistics in training as well (default false)
        shift_filler: SegNet's
        bn_mode: SegNet's (default LEARN)
        batch_norm_param: settings as a dict, or a BatchNormParameter
        bn_param: settings as a dict, or a BNParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _BNLL(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def BNLL(*bottoms: Top, ntop: int = 1, **settings: Unpack[_BNLL]) -> Top:
    """y = log(1 + exp(x)), the softplus function.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _BatchNorm(TypedDict, total=False):
    name: str
    in_place: bool
    use_global_stats: bool
    moving_average_fraction: _Float
    eps: _Float
    scale_filler: _FillerParameter
    bias_filler: _FillerParameter
    scale_bias: bool
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    decay: _Float
    average: _Int | Literal['CAFFE', 'EMA', 'CUMULATIVE', 'LATEST']
    relu: bool
    ghost_batch: _Int
    gradient_through_statistics: bool
    batch_norm_param: _BatchNormParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def BatchNorm(*bottoms: Top, ntop: int = 1, **settings: Unpack[_BatchNorm]) -> Top:
    """Batch normalisation in the split form, without scale and shift; a Scale layer with a bias usually follows.

    Blobs: mean (C), variance (C), factor (1), as in BVLC Caffe; with `scale_bias` (or one of its fillers) also gamma
    (C) and beta (C), as in NVCaffe. The running average follows the rule CAFFE unless `average` names another. With the
    profile "dragon-2016" it is `BatchNorm2016`; with "neopenx" the fraction is 0.9 by default, and eps 1e-3.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        use_global_stats: by the running statistics; unset: true in TEST, false in TRAIN (default by phase)
        moving_average_fraction: weight of the history in the running average (default 0.999)
        eps: added to the variance (default 1e-05)
        scale_filler: of gamma, 1 by default
        bias_filler: of beta, 0 by default
        scale_bias: learn scale and bias in the same layer (default false)
        engine: read, without effect: --engine chooses (default DEFAULT)
        decay: another name for moving_average_fraction, with BN's default (default unset)
        average: rule of the running average; unset: CAFFE for BatchNorm, EMA for BN (default CAFFE)
        relu: Intel Caffe's: read as a ReLU layer in place behind this one (default false)
        ghost_batch: TRAIN: statistics of so many items at a time; 0: of all (default 0)
        gradient_through_statistics: false: backward takes them as constants (default true)
        batch_norm_param: settings as a dict, or a BatchNormParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _BatchReindex(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def BatchReindex(*bottoms: Top, ntop: int = 1, **settings: Unpack[_BatchReindex]) -> Top:
    """The items of bottom 0 in the order that bottom 1 lists; items may repeat or be left out.

    Bottoms: items (N, ...) and indices (M). Top: (M, ...). Forward raises DataError for an index that is out of range.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _BatchRenorm(TypedDict, total=False):
    name: str
    in_place: bool
    use_global_stats: bool
    moving_average_fraction: _Float
    eps: _Float
    r_max: _Float
    d_max: _Float
    step_to_init: _Int
    step_to_r_max: _Int
    step_to_d_max: _Int
    batch_renorm_param: _BatchRenormParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def BatchRenorm(*bottoms: Top, ntop: int = 1, **settings: Unpack[_BatchRenorm]) -> Top:
    """Batch normalisation corrected towards the running statistics (Ioffe 2017).

    TRAIN: y = (x - mean_B) / std_B * r + d, with r = clip(std_B / std, 1 / R, R) and d = clip((mean_B - mean) / std,
    -D, D) taken as constants in backward. R and D grow linearly from 1 and 0 at iteration `step_to_init` to `r_max` and
    `d_max` at `step_to_r_max` and `step_to_d_max`. Until `step_to_init`, and before there are running statistics, this
    is batch normalisation. TEST normalises by the running statistics.

    Blobs: mean (C), variance (C), factor (1), as in BatchNorm, and iterations (1).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        use_global_stats: unset: true in TEST, false in TRAIN (default by phase)
        moving_average_fraction: weight of the history in the running average (default 0.999)
        eps: added to the variance (default 1e-05)
        r_max: limit of the scale's correction (default 3)
        d_max: limit of the shift's correction (default 5)
        step_to_init: iterations without correction (default 5000)
        step_to_r_max: iteration at which r_max is reached (default 40000)
        step_to_d_max: iteration at which d_max is reached (default 25000)
        batch_renorm_param: settings as a dict, or a BatchRenormParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Bias(TypedDict, total=False):
    name: str
    in_place: bool
    axis: _Int
    num_axes: _Int
    filler: _FillerParameter
    bias_param: _BiasParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Bias(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Bias]) -> Top:
    """y = x + bias; the bias has the axes of x from `axis` on and is broadcast over the others.

    The bias is bottom 1 or, with one bottom, a learned blob of `num_axes` axes.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        axis: the bias lies on the axes from this one on (default 1)
        num_axes: how many axes it has; -1: all from axis on (default 1)
        filler: of the bias, 0 by default
        bias_param: settings as a dict, or a BiasParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _BoxAnnotatorOHEM(TypedDict, total=False):
    name: str
    in_place: bool
    roi_per_img: _Int
    ignore_label: _Int
    box_annotator_ohem_param: _BoxAnnotatorOHEMParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def BoxAnnotatorOHEM(*bottoms: Top, ntop: int = 1, **settings: Unpack[_BoxAnnotatorOHEM]) -> Any:
    """Labels and weights of the regions with the largest losses: online hard example mining (R-FCN, Dai et al. 2016).

    Bottoms: regions (R, 5), the loss of each (R), labels (R), weights of its targets (R, C). Tops: labels, and weights,
    of the shapes of bottoms 2 and 3. Of each image the roi_per_img regions of the largest losses keep theirs; the
    others get ignore_label and weights of 0. Of equal losses the first one counts more.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        roi_per_img: so many of each image
        ignore_label: label of the others (default -1)
        box_annotator_ohem_param: settings as a dict, or a BoxAnnotatorOHEMParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _CTCBeamSearchDecoder(TypedDict, total=False):
    name: str
    in_place: bool
    blank_index: _Int
    ctc_merge_repeated: bool
    beam_width: _Int
    already_softmax: bool
    ctc_decoder_param: _CTCDecoderParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def CTCBeamSearchDecoder(*bottoms: Top, ntop: int = 1, **settings: Unpack[_CTCBeamSearchDecoder]) -> Any:
    """The most probable label of each sequence, of those that a beam search finds: all paths that read as it count.

    Bottom 0: scores (T, N, C) before the softmax, log-probabilities as in OpenVINO's fork or, with `already_softmax`,
    probabilities. From step to step the `beam_width` most probable labels are kept. Costs are minus the logarithm of a
    label's probability, the accuracy beside marks is the fraction of sequences read without a fault. Further bottoms,
    and tops: see `dragon.bases.ctc_decoder`.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        blank_index: class that stands for no label; negative: counted from the last one (default 0; the last class with
            marks)
        ctc_merge_repeated: repeated classes of a path are one label (default true)
        beam_width: beam search: labels that are kept from step to step (default 1000)
        already_softmax: beam search: the scores are probabilities (default false)
        ctc_decoder_param: settings as a dict, or a CTCDecoderParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _CTCGreedyDecoder(TypedDict, total=False):
    name: str
    in_place: bool
    blank_index: _Int
    ctc_merge_repeated: bool
    beam_width: _Int
    already_softmax: bool
    ctc_decoder_param: _CTCDecoderParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def CTCGreedyDecoder(*bottoms: Top, ntop: int = 1, **settings: Unpack[_CTCGreedyDecoder]) -> Any:
    """What the most probable path of each sequence reads as: repeated classes are one label, blanks are left out.

    Bottom 0: scores (T, N, C) or their softmax. Costs are minus the sum of the highest scores of a sequence, the
    accuracy beside marks is the mean of 1 - edit distance / longer length. Further bottoms, and tops: see
    `dragon.bases.ctc_decoder`.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        blank_index: class that stands for no label; negative: counted from the last one (default 0; the last class with
            marks)
        ctc_merge_repeated: repeated classes of a path are one label (default true)
        beam_width: beam search: labels that are kept from step to step (default 1000)
        already_softmax: beam search: the scores are probabilities (default false)
        ctc_decoder_param: settings as a dict, or a CTCDecoderParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _CTCLoss(TypedDict, total=False):
    name: str
    in_place: bool
    output_delay: _Int
    blank_index: _Int
    preprocess_collapse_repeated: bool
    ctc_merge_repeated: bool
    loss_calculation_t: _Int
    blank_label: _Int
    alphabet_size: _Int
    time_step: _Int
    ignore_label: _Int
    normalization: _Int | Literal['FULL', 'VALID', 'BATCH_SIZE', 'NONE', 'PRE_FIXED']
    normalize: bool
    weight_by_label_freqs: bool
    class_weighting: _Float | Sequence[_Float]
    pre_fixed_normalizer: _Float
    ctc_loss_param: _CTCLossParameter
    loss_param: _LossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def CTCLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_CTCLoss]) -> Top:
    """-log P(label) of label sequences whose alignment is unknown (CTC, Graves et al. 2006), the mean of the batch.

    Bottom 0: scores (T, N, C) before the softmax, which the layer computes. Then one of

    - labels (N, L): each sequence has T steps (warpctc-caffe, crnn.caffe, caffe_ocr);
    - marks (T, N), 0 where a sequence begins, and labels (L, N): the sequence of a column ends where the next one
      begins, which does not count (ChWick's);
    - steps (N) and number of labels (N) of each sequence, and labels (L, N) (ChWick's WarpCTCLoss).

    Labels are classes; the blank class and -1 fill them up and do not count. An empty label is one: the loss asks for
    blanks. A label that has no path, since the sequence is too short for it, adds neither loss nor gradient, as with
    torch's zero_infinity; engines on the CPU warn. The blank is 0 by default, the last class for type CTCLoss.

    As in these forks, the gradient is that of the sum over the batch, for which their learning rates are chosen, though
    the mean is shown. With `loss_param { normalization }` set, loss and gradient are both divided as it says.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        output_delay: steps at the beginning that do not count (default 0)
        blank_index: class that stands for no label; negative: counted from the last one (default 0; the last class for
            type CTCLoss)
        preprocess_collapse_repeated: merge repeated values of the label itself (default false)
        ctc_merge_repeated: repeated classes of a path are one label (default true)
        loss_calculation_t: for tests of a fork: any step gives the same loss (default 0)
        blank_label: warpctc-caffe's name of blank_index
        alphabet_size: number of classes, to check; 0: as the bottom has
        time_step: steps of each sequence; 0: as the bottom has
        ignore_label: for losses with a label for each score: those with this label do not count
        normalization: what the sum is divided by (default BATCH_SIZE, but not of the gradient)
        normalize: older form of normalization
        weight_by_label_freqs: for SoftmaxWithLoss, with class_weighting (default false)
        class_weighting: for SoftmaxWithLoss, one per class
        pre_fixed_normalizer: what PRE_FIXED divides by (default 1)
        ctc_loss_param: settings as a dict, or a CTCLossParameter
        loss_param: settings as a dict, or a LossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _CenterLoss(TypedDict, total=False):
    name: str
    in_place: bool
    num_output: _Int
    center_filler: _FillerParameter
    axis: _Int
    distance_type: str
    center_loss_param: _CenterLossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def CenterLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_CenterLoss]) -> Top:
    """sum |x - c|^2 / (2 N), with c the centre of the item's class (Wen et al. 2016); sum |x - c|_1 / N for L1.

    Bottoms: x (N, ...) and labels (N). Blob: centres (num_output, K), where K is the product of the axes from `axis`
    on. Centres are moved, not descended: what is added to the diff of the centre of class j is the sum of c - x (of its
    signs for L1) over the items of j, divided by 1 + their number, whatever the loss weight is.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_output: classes
        center_filler
        axis: this axis and the following ones are one vector (default 1)
        distance_type: L1 or L2 (default "L2")
        center_loss_param: settings as a dict, or a CenterLossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _ChannelScale(TypedDict, total=False):
    name: str
    in_place: bool
    do_forward: bool
    do_backward_feature: bool
    do_backward_scale: bool
    global_scale: bool
    max_global_scale: _Float
    min_global_scale: _Float
    init_global_scale: _Float
    channel_scale_param: _ChannelScaleParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def ChannelScale(*bottoms: Top, ntop: int = 1, **settings: Unpack[_ChannelScale]) -> Top:
    """All channels at a position multiplied by one factor (caffe-windows).

    Bottoms: x (N, C, ...) and factors, one for each item and position: (N, 1, ...). `do_forward: false` copies x. In
    backward `do_backward_feature: false` passes the gradient of x on as it is, and without `do_backward_scale` the
    factors get a gradient of 0.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        do_forward: false: a copy (default true)
        do_backward_feature: whether the gradient of x is multiplied by the factor (default true)
        do_backward_scale: whether the factors have a gradient (default true)
        global_scale: not offered (default false)
        max_global_scale (default 1000)
        min_global_scale (default 0)
        init_global_scale (default 1)
        channel_scale_param: settings as a dict, or a ChannelScaleParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Clip(TypedDict, total=False):
    name: str
    in_place: bool
    min: _Float
    max: _Float
    clip_param: _ClipParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Clip(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Clip]) -> Top:
    """y = min(max(x, `min`), `max`); the gradient is 0 outside of the range.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        min: smallest value that passes
        max: largest value that passes
        clip_param: settings as a dict, or a ClipParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Concat(TypedDict, total=False):
    name: str
    in_place: bool
    axis: _Int
    concat_dim: _Int
    concat_param: _ConcatParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Concat(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Concat]) -> Top:
    """The bottoms one after another along `axis` (`concat_dim` in older files).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        axis: of joining; -1 is the last (default 1)
        concat_dim: older form of axis (default 1)
        concat_param: settings as a dict, or a ConcatParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _ContinuationIndicator(TypedDict, total=False):
    name: str
    in_place: bool
    time_step: _Int
    batch_size: _Int
    flag: bool
    continuation_indicator_param: _ContinuationIndicatorParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def ContinuationIndicator(*bottoms: Top, ntop: int = 1, **settings: Unpack[_ContinuationIndicator]) -> Top:
    """The marks that LSTM and RNN take as bottom 1, (T, N): 0 at the first step, then 1, so each batch begins anew.

    T is `time_step`, N is `batch_size`. Where one of them is not set, bottom 0 (T, N, ...) says it, of which only the
    shape counts. Where both are set, a bottom (N) holds 1 for each sequence that goes on from the batch before; `flag`
    says so of all sequences. warpctc-caffe's takes no bottom and has no `flag`.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        time_step: steps; 0: as the bottom (T, N, ...) has (default 0)
        batch_size: sequences side by side; 0: as the bottom has (default 0)
        flag: all sequences go on from the batch before (default false)
        continuation_indicator_param: settings as a dict, or a ContinuationIndicatorParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _ContrastiveLoss(TypedDict, total=False):
    name: str
    in_place: bool
    margin: _Float
    legacy_version: bool
    contrastive_loss_param: _ContrastiveLossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def ContrastiveLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_ContrastiveLoss]) -> Top:
    """Contrastive loss: draws similar pairs together and pushes others `margin` apart (Hadsell, Chopra & LeCun 2006).

    With d the distance of a pair: sum(s d^2 + (1 - s) max(margin - d, 0)^2) / (2 N), or max(margin - d^2, 0) in the
    second term with `legacy_version`. Bottoms: a, b (N, C) and s (N), 0 for pairs that are not similar.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        margin: distance from which unlike pairs cost nothing (default 1)
        legacy_version: unlike pairs by margin - d^2 in place of (margin - d)^2 (default false)
        contrastive_loss_param: settings as a dict, or a ContrastiveLossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Convolution(TypedDict, total=False):
    name: str
    in_place: bool
    num_output: _Int
    bias_term: bool
    pad: _Int | Sequence[_Int]
    kernel_size: _Int | Sequence[_Int]
    stride: _Int | Sequence[_Int]
    dilation: _Int | Sequence[_Int]
    pad_h: _Int
    pad_w: _Int
    kernel_h: _Int
    kernel_w: _Int
    stride_h: _Int
    stride_w: _Int
    group: _Int
    weight_filler: _FillerParameter
    bias_filler: _FillerParameter
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    axis: _Int
    force_nd_im2col: bool
    pad_l: _Int
    pad_r: _Int
    pad_t: _Int
    pad_b: _Int
    relu: bool
    negative_slope: _Float
    kernel_depth: _Int
    temporal_stride: _Int
    temporal_pad: _Int
    filter_group: _Int
    kernel_shape: _BlobShape
    stride_shape: _BlobShape
    pad_shape: _BlobShape
    convolution_param: _ConvolutionParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Convolution(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Convolution]) -> Any:
    """Convolution over any number of spatial axes, with groups, strides, padding and dilation.

    Reading a net moves what C3D (Convolution3D: kernel_depth, temporal_stride, temporal_pad) and video-caffe
    (NdConvolution: kernel_shape, stride_shape, pad_shape) write to kernel_size, stride and pad, given for each axis.

    Blobs: weight (num_output, C / group, *kernel), bias (num_output).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_output: channels of the top
        bias_term: add a bias for each channel (default true)
        pad: zeros on each side, 0 by default
        kernel_size: one for all axes, or one for each
        stride: 1 by default
        dilation: distance of a kernel's points, 1 by default
        pad_h: instead of pad (default 0)
        pad_w: instead of pad (default 0)
        kernel_h: instead of kernel_size
        kernel_w: instead of kernel_size
        stride_h: instead of stride
        stride_w: instead of stride
        group: parts of the channels that are convolved apart (default 1)
        weight_filler: start of the weights, 0 by default
        bias_filler: start of the bias, 0 by default
        engine: read, without effect: --engine chooses (default DEFAULT)
        axis: of the channels; those behind it are spatial (default 1)
        force_nd_im2col: read, without effect (default false)
        pad_l: on the left (default 0)
        pad_r: on the right (default 0)
        pad_t: at the top (default 0)
        pad_b: at the bottom (default 0)
        relu: Intel Caffe's: read as a ReLU layer in place behind this one (default false)
        negative_slope: of that ReLU (default 0)
        kernel_depth: C3D's: extent along the first of three axes
        temporal_stride: C3D's: stride along the first of three axes (default 1)
        temporal_pad: C3D's: padding of the first of three axes (default 0)
        filter_group: C3D's: parts in which outputs are computed, to save memory (default 1)
        kernel_shape: of NdConvolution: kernel_size
        stride_shape: of NdConvolution: stride
        pad_shape: of NdConvolution: pad
        convolution_param: settings as a dict, or a ConvolutionParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Crop(TypedDict, total=False):
    name: str
    in_place: bool
    axis: _Int
    offset: _Int | Sequence[_Int]
    crop_param: _CropParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Crop(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Crop]) -> Top:
    """Bottom 0 cropped to the size of bottom 1 on the axes from `axis` on.

    `offset` is where the crop begins: one value, or one for each of these axes.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        axis: first axis that is cut (default 2)
        offset: where the cut begins: one for all axes, or one for each
        crop_param: settings as a dict, or a CropParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _CropCenter(TypedDict, total=False):
    name: str
    in_place: bool
    crop_size: _Int | Sequence[_Int]
    crop_center_param: _CropCenterParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def CropCenter(*bottoms: Top, ntop: int = 1, **settings: Unpack[_CropCenter]) -> Top:
    """The middle of the bottom: `crop_size` elements are cut off at both ends of each axis.

    `crop_size` is given once for each axis of the bottom. Top: extents smaller by twice that.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        crop_size: for each axis, how much is cut off at both ends
        crop_center_param: settings as a dict, or a CropCenterParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Data(TypedDict, total=False):
    name: str
    in_place: bool
    source: str
    batch_size: _Int
    rand_skip: _Int
    backend: _Int | Literal['LEVELDB', 'LMDB']
    scale: _Float
    mean_file: str
    crop_size: _Int
    mirror: bool
    force_encoded_color: bool
    prefetch: _Int
    shuffle: bool
    random_order: bool
    mean_value: _Float | Sequence[_Float]
    force_color: bool
    force_gray: bool
    resize_param: _ResizeParameter | Sequence[_ResizeParameter]
    noise_param: _NoiseParameter
    emit_constraint: _EmitConstraint
    crop_h: _Int
    crop_w: _Int
    distort_param: _DistortionParameter
    expand_param: _ExpansionParameter
    zero_pad: _Int
    cutout: _Int
    brightness: _Float
    contrast: _Float
    saturation: _Float
    scale_factors: _Float | Sequence[_Float]
    crop_width: _Int
    crop_height: _Int
    data_param: _DataParameter
    transform_param: _TransformationParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Data(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Data]) -> Any:
    """Images and labels from a database (`source`), transformed, and read ahead by a thread.

    Tops: data (batch_size, C, H, W) and optionally label (batch_size). Without a crop_size the first record of each
    batch decides the height and width of the batch.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        source: folder of the database
        batch_size: images in one pass
        rand_skip: skip up to so many records at the start (default 0)
        backend: kind of the database (default LEVELDB)
        scale: older place of transform_param's (default 1)
        mean_file: older place of transform_param's
        crop_size: older place of transform_param's (default 0)
        mirror: older place of transform_param's (default false)
        force_encoded_color (default false)
        prefetch (default 4)
        shuffle: new order of records every epoch (default false)
        random_order: Tongcheng's name of shuffle (default false)
        mean_value: instead of it: one for all channels, or one for each
        force_color: make images of one channel colour (default false)
        force_gray: make colour images grey (default false)
        resize_param: how images are resized; of several each batch follows one
        noise_param: changes of resized images
        emit_constraint: which boxes a window keeps
        crop_h: height of a cut, instead of crop_size, with crop_w (default 0)
        crop_w: width of a cut, with crop_h (default 0)
        distort_param: random changes of colour
        expand_param: larger canvases
        zero_pad: zeros on each side, after the mean; crop_size takes its window from what results (default 0)
        cutout: side of a square that becomes zero, after all else; 0: none (default 0)
        brightness: b multiplies values by a factor from [1 - b, 1 + b] (default 0)
        contrast: the same for differences from the image's mean grey (default 0)
        saturation: the same for differences from each pixel's grey (default 0)
        scale_factors: resize by one of these factors, chosen at random
        crop_width: instead of crop_size, with crop_height (default 0)
        crop_height: instead of crop_size, with crop_width (default 0)
        data_param: settings as a dict, or a DataParameter
        transform_param: settings as a dict, or a TransformationParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Deconvolution(TypedDict, total=False):
    name: str
    in_place: bool
    num_output: _Int
    bias_term: bool
    pad: _Int | Sequence[_Int]
    kernel_size: _Int | Sequence[_Int]
    stride: _Int | Sequence[_Int]
    dilation: _Int | Sequence[_Int]
    pad_h: _Int
    pad_w: _Int
    kernel_h: _Int
    kernel_w: _Int
    stride_h: _Int
    stride_w: _Int
    group: _Int
    weight_filler: _FillerParameter
    bias_filler: _FillerParameter
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    axis: _Int
    force_nd_im2col: bool
    pad_l: _Int
    pad_r: _Int
    pad_t: _Int
    pad_b: _Int
    relu: bool
    negative_slope: _Float
    kernel_depth: _Int
    temporal_stride: _Int
    temporal_pad: _Int
    filter_group: _Int
    kernel_shape: _BlobShape
    stride_shape: _BlobShape
    pad_shape: _BlobShape
    convolution_param: _ConvolutionParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Deconvolution(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Deconvolution]) -> Any:
    """Transposed convolution, the gradient of a convolution as a layer: strides above 1 enlarge its output.

    Blobs: weight (C, num_output / group, *kernel), bias (num_output).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_output: channels of the top
        bias_term: add a bias for each channel (default true)
        pad: zeros on each side, 0 by default
        kernel_size: one for all axes, or one for each
        stride: 1 by default
        dilation: distance of a kernel's points, 1 by default
        pad_h: instead of pad (default 0)
        pad_w: instead of pad (default 0)
        kernel_h: instead of kernel_size
        kernel_w: instead of kernel_size
        stride_h: instead of stride
        stride_w: instead of stride
        group: parts of the channels that are convolved apart (default 1)
        weight_filler: start of the weights, 0 by default
        bias_filler: start of the bias, 0 by default
        engine: read, without effect: --engine chooses (default DEFAULT)
        axis: of the channels; those behind it are spatial (default 1)
        force_nd_im2col: read, without effect (default false)
        pad_l: on the left (default 0)
        pad_r: on the right (default 0)
        pad_t: at the top (default 0)
        pad_b: at the bottom (default 0)
        relu: Intel Caffe's: read as a ReLU layer in place behind this one (default false)
        negative_slope: of that ReLU (default 0)
        kernel_depth: C3D's: extent along the first of three axes
        temporal_stride: C3D's: stride along the first of three axes (default 1)
        temporal_pad: C3D's: padding of the first of three axes (default 0)
        filter_group: C3D's: parts in which outputs are computed, to save memory (default 1)
        kernel_shape: of NdConvolution: kernel_size
        stride_shape: of NdConvolution: stride
        pad_shape: of NdConvolution: pad
        convolution_param: settings as a dict, or a ConvolutionParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _DecorrelatedBN(TypedDict, total=False):
    name: str
    in_place: bool
    group: _Int
    eps: _Float
    decay: _Float
    average: _Int | Literal['CAFFE', 'EMA', 'CUMULATIVE', 'LATEST']
    scale_bias: bool
    scale_filler: _FillerParameter
    bias_filler: _FillerParameter
    decorrelated_bn_param: _DecorrelatedBNParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def DecorrelatedBN(*bottoms: Top, ntop: int = 1, **settings: Unpack[_DecorrelatedBN]) -> Top:
    """Batch normalisation that also takes the correlations between channels away (Huang et al. 2018, arXiv 1804.08450).

    TRAIN whitens by the batch: y = S^(-1/2) (x - mean), where S is the (biased) covariance of the channels of a group
    plus eps on its diagonal and S^(-1/2) its symmetric inverse root (ZCA). TEST takes the running mean and covariance.
    `group` groups of channels are whitened apart: the cost for each step is that of their eigenvalues, (C / group)^3
    each, and a group needs more values than it has channels. An empty batch moves no average. bottom, top: (N, C, ...),
    in place or not.

    Blobs: mean (C), covariance (group, C / group, C / group), weight of the average (1) and, with `scale_bias`, gamma
    (C) and beta (C). The average follows the rule EMA with `decay` unless `average` names another. Huang et al.
    average the matrix S^(-1/2); here it is the covariance, as BN averages the variance.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        group: parts of the channels that are whitened apart (default 1)
        eps: added to the diagonal of the covariance (default 1e-05)
        decay: weight of the history in the running average (default 0.95)
        average: rule of the running average (default EMA)
        scale_bias: learn a factor and a bias (default true)
        scale_filler: of gamma, 1 by default
        bias_filler: of beta, 0 by default
        decorrelated_bn_param: settings as a dict, or a DecorrelatedBNParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _DenseBlock(TypedDict, total=False):
    name: str
    in_place: bool
    numTransition: _Int
    initChannel: _Int
    growthRate: _Int
    pad_h: _Int
    pad_w: _Int
    conv_verticalStride: _Int
    conv_horizentalStride: _Int
    filter_H: _Int
    filter_W: _Int
    Filter_Filler: _FillerParameter
    BN_Scaler_Filler: _FillerParameter
    BN_Bias_Filler: _FillerParameter
    gpuIdx: _Int
    use_dropout: bool
    dropout_amount: _Float
    use_BC: bool
    BC_ultra_space_efficient: bool
    workspace_MB: _Int
    moving_average_fraction: _Float
    denseblock_param: _DenseBlockParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def DenseBlock(*bottoms: Top, ntop: int = 1, **settings: Unpack[_DenseBlock]) -> Top:
    """Each of `numTransition` layers adds `growthRate` channels, computed from all channels before it.

    A layer is a batch normalisation with scale and shift, a ReLU and a 3 x 3 convolution without a bias (Huang et al.
    2017, section 3). With `use_BC` the same with a 1 x 1 convolution to 4 growthRate channels comes before it, and with
    `use_dropout` TRAIN drops values that it adds. The variance is that of the batch in TRAIN, the running one in TEST.

    bottom: (N, C, H, W). top: (N, C + numTransition growthRate, H, W), the bottom's channels first. Blobs, in the order
    of Tongcheng's fork, each for all T layers: kernels, scales, shifts, running means, running variances; with use_BC
    the same of the 1 x 1 convolutions, whose normalisation is that of their tops; last the weight of the averages, one
    element. As cuDNN's mode CONVOLUTION in that fork, the kernels are mirrored: position (0, 0) of a kernel meets the
    value below to the right. Raises PrototxtError for bad settings, ShapeError for a bottom that is empty or has other
    channels.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        numTransition: layers of the block (default 40)
        initChannel: read, without effect: as the bottom has (default 16)
        growthRate: channels that each layer adds (default 12)
        pad_h: 1 is what is offered (default 1)
        pad_w: 1 is what is offered (default 1)
        conv_verticalStride: 1 is what is offered (default 1)
        conv_horizentalStride: 1 is what is offered (default 1)
        filter_H: 3 is what is offered (default 3)
        filter_W: 3 is what is offered (default 3)
        Filter_Filler: of the kernels
        BN_Scaler_Filler: of the scales; unset: 1 (default 1)
        BN_Bias_Filler: of the shifts
        gpuIdx: read, without effect (default 0)
        use_dropout: drop values that a layer adds, in TRAIN (default false)
        dropout_amount: probability that a value is dropped (default 0)
        use_BC: a 1 x 1 convolution to 4 growthRate channels before each 3 x 3 one (default false)
        BC_ultra_space_efficient: compute the 1 x 1 convolutions again in backward, which needs less memory for the same
            result (default false)
        workspace_MB: read, without effect (default 8)
        moving_average_fraction: weight of the newest batch in running averages (default 0.1)
        denseblock_param: settings as a dict, or a DenseBlockParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _DenseImageData(TypedDict, total=False):
    name: str
    in_place: bool
    source: str
    batch_size: _Int
    rand_skip: _Int
    shuffle: bool
    new_height: _Int
    new_width: _Int
    is_color: bool
    mean_file: str
    root_folder: str
    mirror: bool
    crop_width: _Int
    crop_height: _Int
    scale: _Float
    crop_size: _Int
    mean_value: _Float | Sequence[_Float]
    force_color: bool
    force_gray: bool
    resize_param: _ResizeParameter | Sequence[_ResizeParameter]
    noise_param: _NoiseParameter
    emit_constraint: _EmitConstraint
    crop_h: _Int
    crop_w: _Int
    distort_param: _DistortionParameter
    expand_param: _ExpansionParameter
    zero_pad: _Int
    cutout: _Int
    brightness: _Float
    contrast: _Float
    saturation: _Float
    scale_factors: _Float | Sequence[_Float]
    dense_image_data_param: _DenseImageDataParameter
    transform_param: _TransformationParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def DenseImageData(*bottoms: Top, ntop: int = 1, **settings: Unpack[_DenseImageData]) -> Any:
    """Images with label maps, from the files that `source` lists ("IMAGE MAP" lines), as in SegNet.

    Tops: data (batch_size, C, h, w), blue first, and label (batch_size, 1, h, w). Both are resized, cropped (at random
    in TRAIN) and mirrored together, which SegNet refuses; maps take the nearest label. A map's labels are its grey
    values, or the indices of its palette. Without resizing and cropping, the first image of each batch decides h and w.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        source: text file of lines: image map
        batch_size: images in one pass
        rand_skip: skip up to so many lines at the start (default 0)
        shuffle: new order every epoch (default false)
        new_height: resize to; 0: as the file is (default 0)
        new_width: resize to; 0: as the file is (default 0)
        is_color: false: one channel of grey (default true)
        mean_file: older place of transform_param's
        root_folder: put before each file's name (default "")
        mirror: older place of transform_param's (default false)
        crop_width: older place of transform_param's (default 0)
        crop_height: older place of transform_param's (default 0)
        scale: factor, after the mean is taken off (default 1)
        crop_size: side of a cut: at random in TRAIN, in the middle in TEST; 0: none (default 0)
        mean_value: instead of it: one for all channels, or one for each
        force_color: make images of one channel colour (default false)
        force_gray: make colour images grey (default false)
        resize_param: how images are resized; of several each batch follows one
        noise_param: changes of resized images
        emit_constraint: which boxes a window keeps
        crop_h: height of a cut, instead of crop_size, with crop_w (default 0)
        crop_w: width of a cut, with crop_h (default 0)
        distort_param: random changes of colour
        expand_param: larger canvases
        zero_pad: zeros on each side, after the mean; crop_size takes its window from what results (default 0)
        cutout: side of a square that becomes zero, after all else; 0: none (default 0)
        brightness: b multiplies values by a factor from [1 - b, 1 + b] (default 0)
        contrast: the same for differences from the image's mean grey (default 0)
        saturation: the same for differences from each pixel's grey (default 0)
        scale_factors: resize by one of these factors, chosen at random
        dense_image_data_param: settings as a dict, or a DenseImageDataParameter
        transform_param: settings as a dict, or a TransformationParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _DepthwiseConvolution(TypedDict, total=False):
    name: str
    in_place: bool
    num_output: _Int
    bias_term: bool
    pad: _Int | Sequence[_Int]
    kernel_size: _Int | Sequence[_Int]
    stride: _Int | Sequence[_Int]
    dilation: _Int | Sequence[_Int]
    pad_h: _Int
    pad_w: _Int
    kernel_h: _Int
    kernel_w: _Int
    stride_h: _Int
    stride_w: _Int
    group: _Int
    weight_filler: _FillerParameter
    bias_filler: _FillerParameter
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    axis: _Int
    force_nd_im2col: bool
    pad_l: _Int
    pad_r: _Int
    pad_t: _Int
    pad_b: _Int
    relu: bool
    negative_slope: _Float
    kernel_depth: _Int
    temporal_stride: _Int
    temporal_pad: _Int
    filter_group: _Int
    kernel_shape: _BlobShape
    stride_shape: _BlobShape
    pad_shape: _BlobShape
    convolution_param: _ConvolutionParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def DepthwiseConvolution(*bottoms: Top, ntop: int = 1, **settings: Unpack[_DepthwiseConvolution]) -> Any:
    """Depthwise convolution: a convolution with a group for each channel, unless `group` is set.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_output: channels of the top
        bias_term: add a bias for each channel (default true)
        pad: zeros on each side, 0 by default
        kernel_size: one for all axes, or one for each
        stride: 1 by default
        dilation: distance of a kernel's points, 1 by default
        pad_h: instead of pad (default 0)
        pad_w: instead of pad (default 0)
        kernel_h: instead of kernel_size
        kernel_w: instead of kernel_size
        stride_h: instead of stride
        stride_w: instead of stride
        group: parts of the channels that are convolved apart (default 1)
        weight_filler: start of the weights, 0 by default
        bias_filler: start of the bias, 0 by default
        engine: read, without effect: --engine chooses (default DEFAULT)
        axis: of the channels; those behind it are spatial (default 1)
        force_nd_im2col: read, without effect (default false)
        pad_l: on the left (default 0)
        pad_r: on the right (default 0)
        pad_t: at the top (default 0)
        pad_b: at the bottom (default 0)
        relu: Intel Caffe's: read as a ReLU layer in place behind this one (default false)
        negative_slope: of that ReLU (default 0)
        kernel_depth: C3D's: extent along the first of three axes
        temporal_stride: C3D's: stride along the first of three axes (default 1)
        temporal_pad: C3D's: padding of the first of three axes (default 0)
        filter_group: C3D's: parts in which outputs are computed, to save memory (default 1)
        kernel_shape: of NdConvolution: kernel_size
        stride_shape: of NdConvolution: stride
        pad_shape: of NdConvolution: pad
        convolution_param: settings as a dict, or a ConvolutionParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _DetectionEvaluate(TypedDict, total=False):
    name: str
    in_place: bool
    num_classes: _Int
    background_label_id: _Int
    overlap_threshold: _Float
    evaluate_difficult_gt: bool
    name_size_file: str
    resize_param: _ResizeParameter
    detection_evaluate_param: _DetectionEvaluateParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def DetectionEvaluate(*bottoms: Top, ntop: int = 1, **settings: Unpack[_DetectionEvaluate]) -> Top:
    """Compares detections with labels, for the mean average precision (SSD; Everingham et al. 2010, section 4.2).

    Bottoms: the top (1, 1, K, 7) of DetectionOutput; labels (1, 1, G, 8) of AnnotatedData. Top: (1, 1, rows, 5). First
    a row for each class but the background: -1, class, number of labels, -1, -1. Then a row for each detection: item,
    class, score, 1 if it is true, 1 if it is false. A detection is true if it overlaps the label of its class that it
    overlaps most by `overlap_threshold`, and no detection of a higher score has that label. Without
    `evaluate_difficult_gt` difficult labels do not count, and a detection of one is neither.

    Tests compute average precisions from the top (`dragon.graph.detection_scores`). With `name_size_file`, whose lines
    "name height width" are those of the images in their order, overlaps are counted in pixels of the original images.
    The last image of a batch counts only if it has a detection or a label, or if no image of the batch has a detection.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_classes: with the background
        background_label_id: the label of the background (default 0)
        overlap_threshold: least overlap with the label of a true detection (default 0.5)
        evaluate_difficult_gt: false: difficult labels, and detections of them, do not count (default true)
        name_size_file: lines "name height width" of the images: overlaps are then those in the original images
        resize_param: how these images were resized, for name_size_file
        detection_evaluate_param: settings as a dict, or a DetectionEvaluateParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _DetectionLoss(TypedDict, total=False):
    name: str
    in_place: bool
    side: _Int
    num_class: _Int
    num_object: _Int
    object_scale: _Float
    noobject_scale: _Float
    class_scale: _Float
    coord_scale: _Float
    sqrt: bool
    constriant: bool
    detection_loss_param: _DetectionLossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def DetectionLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_DetectionLoss]) -> Top:
    """The loss of YOLO v1 (Redmon et al. 2016), as caffe-yolo trains with it.

    Bottoms: a map (N, num_class + 5 * num_object, side * side) in any shape of as many values: scores of the classes,
    scores of the boxes, and x, y, w, h of each box; labels (N, 7 * side * side): difficult (not read), whether there is
    an object, its class (from 0), each (side, side), then x, y, w, h for each position, relative to the image. Top: the
    sum of the terms, divided by N: halves of squared errors for the classes and the box of positions with an object,
    and for the scores. Of the boxes of a position the one counts that overlaps the true one most, else the nearest; the
    target of its score is the overlap. caffe-yolo has the same gradients, but prints means over the objects as loss.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        side: positions each way (default 7)
        num_class: classes of objects (default 20)
        num_object: boxes of each position (default 2)
        object_scale: weight of the scores of boxes with an object (default 1)
        noobject_scale: weight of the scores of other boxes (default 0.5)
        class_scale: weight of the classes (default 1)
        coord_scale: weight of the boxes (default 5)
        sqrt: the map holds roots of width and height (default true)
        constriant: x and y are relative to the position, not to the image (default false)
        detection_loss_param: settings as a dict, or a DetectionLossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _DetectionOutput(TypedDict, total=False):
    name: str
    in_place: bool
    num_classes: _Int
    share_location: bool
    background_label_id: _Int
    nms_param: _NonMaximumSuppressionParameter
    save_output_param: _SaveOutputParameter
    code_type: _Int | Literal['CORNER', 'CENTER_SIZE', 'CORNER_SIZE']
    variance_encoded_in_target: bool
    keep_top_k: _Int
    confidence_threshold: _Float
    visualize: bool
    visualize_threshold: _Float
    save_file: str
    objectness_score: _Float
    detection_output_param: _DetectionOutputParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def DetectionOutput(*bottoms: Top, ntop: int = 1, **settings: Unpack[_DetectionOutput]) -> Top:
    """Boxes from offsets and scores, decoded and thinned out by non-maximum suppression (SSD, Liu et al. 2016).

    Bottoms: offsets (N, P * 4), or (N, P * classes * 4) without `share_location`; scores (N, P * classes); the PriorBox
    top (1, 2, P * 4). Top: (1, 1, K, 7) with item, label, score, xmin, ymin, xmax, ymax for each box, ordered by item,
    label and falling score. If no box is found, there is one row for each item: its number and six times -1. With
    `save_output_param` the boxes are also written to files (`dragon.files.detection_files`).

    RefineDet (Zhang et al. 2018) has two more bottoms: the probabilities (N, P * 2) of background and object, and the
    offsets (N, P * 4), both of its first step. The offsets move the default boxes, and a box whose probability of an
    object is below `objectness_score` is background.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_classes: with the background
        share_location: one box for all classes, not one for each (default true)
        background_label_id: the label of the background, which gives no boxes (default 0)
        nms_param: which overlapping boxes are dropped
        save_output_param: files that are written
        code_type: how offsets are coded (default CORNER)
        variance_encoded_in_target: offsets are not multiplied by variances (default false)
        keep_top_k: most boxes of an image; -1: all (default -1)
        confidence_threshold: scores are larger; unset: any
        visualize: there is no display: a warning, and the boxes are in the top (default false)
        visualize_threshold: read, without effect: of visualize
        save_file: there is no display: a warning, and no film is written
        objectness_score: of bottom 3: boxes below this are background (RefineDet) (default 0.01)
        detection_output_param: settings as a dict, or a DetectionOutputParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Dropout(TypedDict, total=False):
    name: str
    in_place: bool
    dropout_ratio: _Float
    scale_train: bool
    dropout_param: _DropoutParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Dropout(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Dropout]) -> Top:
    """In TRAIN each element is dropped with probability `dropout_ratio`, and the others are scaled by 1 / (1 - ratio).

    An element is kept where its random 32-bit word is at least ratio * 2^32; TEST copies. With `scale_train: false`, as
    in forks, TRAIN does not scale and TEST scales by 1 - ratio. In place or not.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        dropout_ratio: probability of dropping an element (default 0.5)
        scale_train: false: TEST shrinks what TRAIN leaves as it is (default true)
        dropout_param: settings as a dict, or a DropoutParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _DummyData(TypedDict, total=False):
    name: str
    in_place: bool
    data_filler: _FillerParameter | Sequence[_FillerParameter]
    shape: _BlobShape | Sequence[_BlobShape]
    num: _Int | Sequence[_Int]
    channels: _Int | Sequence[_Int]
    height: _Int | Sequence[_Int]
    width: _Int | Sequence[_Int]
    dummy_data_param: _DummyDataParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def DummyData(*bottoms: Top, ntop: int = 1, **settings: Unpack[_DummyData]) -> Any:
    """Tops of given shapes, filled by fillers: random ones in every forward pass, constant ones once.

    A constant filler fills its top when the layer is set up, and again only if the top has grown and nothing has
    written to it since; so a script may use such a top as an input, as in Caffe.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        data_filler: one for all tops, or one for each; 0 by default
        shape: one for all tops, or one for each
        num: older form of shape
        channels: older form of shape
        height: older form of shape
        width: older form of shape
        dummy_data_param: settings as a dict, or a DummyDataParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _ELU(TypedDict, total=False):
    name: str
    in_place: bool
    alpha: _Float
    elu_param: _ELUParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def ELU(*bottoms: Top, ntop: int = 1, **settings: Unpack[_ELU]) -> Top:
    """y = x for x > 0, else alpha * (exp(x) - 1) (Clevert et al. 2015).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        alpha: minus the limit far below 0 (default 1)
        elu_param: settings as a dict, or a ELUParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Eltwise(TypedDict, total=False):
    name: str
    in_place: bool
    operation: _Int | Literal['PROD', 'SUM', 'MAX']
    coeff: _Float | Sequence[_Float]
    stable_prod_grad: bool
    eltwise_param: _EltwiseParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Eltwise(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Eltwise]) -> Top:
    """Product, weighted sum or maximum of bottoms of one shape.

    The gradient of a product is the product divided by the factor or, with `stable_prod_grad`, the product of the other
    factors, which is right also where a factor is 0. Among equal maxima the gradient goes to the second of the first
    two bottoms, else to the earlier one, as in Caffe.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        operation: product, weighted sum or maximum (default SUM)
        coeff: SUM: one weight for each bottom, 1 by default
        stable_prod_grad (default true)
        eltwise_param: settings as a dict, or a EltwiseParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Embed(TypedDict, total=False):
    name: str
    in_place: bool
    num_output: _Int
    input_dim: _Int
    bias_term: bool
    weight_filler: _FillerParameter
    bias_filler: _FillerParameter
    embed_param: _EmbedParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Embed(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Embed]) -> Top:
    """y = W[x] + b: for each index in the bottom, that row of a learned table.

    Bottom: indices (...). Top: (..., num_output). Blobs: weight (input_dim, num_output), bias (num_output). Forward
    raises DataError for an index that is out of range.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_output: numbers in a row
        input_dim: rows of the table: indices are below it
        bias_term: add a bias (default true)
        weight_filler: start of the table, 0 by default
        bias_filler: start of the bias, 0 by default
        embed_param: settings as a dict, or a EmbedParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _EuclideanLoss(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def EuclideanLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_EuclideanLoss]) -> Top:
    """sum((a - b)^2) / (2 N); both bottoms can have a gradient.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _EvoNormS0(TypedDict, total=False):
    name: str
    in_place: bool
    num_groups: _Int
    eps: _Float
    scale_filler: _FillerParameter
    bias_filler: _FillerParameter
    v_filler: _FillerParameter
    evo_norm_s0_param: _EvoNormS0Parameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def EvoNormS0(*bottoms: Top, ntop: int = 1, **settings: Unpack[_EvoNormS0]) -> Top:
    """Normalisation and activation in one, found by search: EvoNorm-S0 (Liu et al. 2020, arXiv 2004.02967).

    y = gamma x sigmoid(v x) / sqrt(var + eps) + beta. var is the (biased) variance of an item's group of channels, over
    their spatial positions, so nothing depends on the batch. No ReLU follows. bottom: (N, C, ...), in place or not;
    `num_groups` must divide C. TRAIN and TEST do the same.

    Blobs: gamma (C), beta (C) and v (C).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_groups: groups of channels that have a variance together (default 32)
        eps: added to the variance (default 1e-05)
        scale_filler: of gamma, 1 by default
        bias_filler: of beta, 0 by default
        v_filler: of v, the slope inside the sigmoid, 1 by default
        evo_norm_s0_param: settings as a dict, or a EvoNormS0Parameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Exp(TypedDict, total=False):
    name: str
    in_place: bool
    base: _Float
    scale: _Float
    shift: _Float
    exp_param: _ExpParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Exp(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Exp]) -> Top:
    """y = base^(scale * x + shift); a base of -1 stands for e.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        base: -1 stands for e (default -1)
        scale: of x (default 1)
        shift: of x (default 0)
        exp_param: settings as a dict, or a ExpParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _FRN(TypedDict, total=False):
    name: str
    in_place: bool
    eps: _Float
    threshold: bool
    scale_filler: _FillerParameter
    bias_filler: _FillerParameter
    threshold_filler: _FillerParameter
    frn_param: _FRNParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def FRN(*bottoms: Top, ntop: int = 1, **settings: Unpack[_FRN]) -> Top:
    """Filter response normalisation with its thresholded linear unit (Singh & Krishnan 2020, arXiv 1911.09737).

    Each channel of an item is divided by its own root mean square over the spatial positions; no mean is subtracted and
    nothing depends on the batch: y = max(gamma x / sqrt(mean(x^2) + eps) + beta, tau). With `threshold: false` the
    maximum and tau are left out; otherwise no ReLU has to follow. bottom: (N, C, ...), in place or not. With a single
    position x / sqrt(x^2 + eps) is little more than the sign. TRAIN and TEST do the same.

    Blobs: gamma (C), beta (C) and tau (C).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        eps: added to the mean square (default 1e-06)
        threshold: learn a threshold for each channel, below which nothing comes out (default true)
        scale_filler: of gamma, 1 by default
        bias_filler: of beta, 0 by default
        threshold_filler: of tau, 0 by default
        frn_param: settings as a dict, or a FRNParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Filter(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Filter(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Filter]) -> Any:
    """The items of every bottom but the last for which the last bottom, the selector (N), is not 0.

    The number of items depends on the values of the selector: the tops are reshaped in forward, possibly to no items.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Flatten(TypedDict, total=False):
    name: str
    in_place: bool
    axis: _Int
    end_axis: _Int
    flatten_param: _FlattenParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Flatten(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Flatten]) -> Top:
    """The axes from `axis` to `end_axis` become one; the top shares the memory of the bottom.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        axis: first axis that is joined (default 1)
        end_axis: last one; -1 is the last of all (default -1)
        flatten_param: settings as a dict, or a FlattenParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Flip(TypedDict, total=False):
    name: str
    in_place: bool
    flip_width: bool
    flip_height: bool
    flip_param: _FlipParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Flip(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Flip]) -> Top:
    """Images mirrored: along the width with `flip_width`, along the height with `flip_height` (caffe-windows).

    Bottom and top: (N, C, H, W).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        flip_width: left and right exchanged (default true)
        flip_height: top and bottom exchanged (default false)
        flip_param: settings as a dict, or a FlipParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _FocalLoss(TypedDict, total=False):
    name: str
    in_place: bool
    type: _Int | Literal['ORIGIN', 'LINEAR', 'ONEADDP']
    gamma: _Float
    alpha: _Float
    beta: _Float
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    axis: _Int
    ignore_label: _Int
    normalization: _Int | Literal['FULL', 'VALID', 'BATCH_SIZE', 'NONE', 'PRE_FIXED']
    normalize: bool
    weight_by_label_freqs: bool
    class_weighting: _Float | Sequence[_Float]
    pre_fixed_normalizer: _Float
    focal_loss_param: _FocalLossParameter
    softmax_param: _SoftmaxParameter
    loss_param: _LossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def FocalLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_FocalLoss]) -> Any:
    """Sum of -alpha (1 - p)^gamma log(p), with p the probability of the true class (Lin et al. 2017).

    One label for each position: p is the softmax along `softmax_param.axis`, which the second top holds, and the sum is
    divided by the number of labels that count. One target, 0 or 1, for each value: p is sigmoid(x) for targets 1 and
    1 - sigmoid(x) for targets 0, whose alpha is 1 - alpha, and the sum is divided by the batch size. `loss_param` may
    say otherwise. Bottoms: scores (N, C, ...) and labels or targets.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        type: only ORIGIN is offered (default ORIGIN)
        gamma: power of 1 - p (default 2)
        alpha: weight; of targets 0 it is 1 - alpha (default 1)
        beta: of type LINEAR (default 1)
        engine: read, without effect: --engine chooses (default DEFAULT)
        axis: of the classes (default 1)
        ignore_label: for losses with a label for each score: those with this label do not count
        normalization: what the sum is divided by (default VALID)
        normalize: older form of normalization
        weight_by_label_freqs: for SoftmaxWithLoss, with class_weighting (default false)
        class_weighting: for SoftmaxWithLoss, one per class
        pre_fixed_normalizer: what PRE_FIXED divides by (default 1)
        focal_loss_param: settings as a dict, or a FocalLossParameter
        softmax_param: settings as a dict, or a SoftmaxParameter
        loss_param: settings as a dict, or a LossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _GaussianYolov3(TypedDict, total=False):
    name: str
    in_place: bool
    side: _Int
    num_class: _Int
    num: _Int
    object_scale: _Float
    class_scale: _Float
    noobject_scale: _Float
    coord_scale: _Float
    thresh: _Float
    anchors_scale: _Int
    biases: _Float | Sequence[_Float]
    mask: _Int | Sequence[_Int]
    use_logic_gradient: bool
    use_focal_loss: bool
    iou_loss: _Int | Literal['IOU', 'GIOU', 'MSE', 'DIOU', 'CIOU']
    iou_normalizer: _Float
    iou_thresh: _Float
    max_delta: _Float
    accumulate: bool
    label_smooth_eps: _Float
    yolov3_param: _Yolov3Parameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def GaussianYolov3(*bottoms: Top, ntop: int = 1, **settings: Unpack[_GaussianYolov3]) -> Top:
    """The loss of Gaussian YOLO v3 (Choi et al. 2019), as MobileNet-YOLO trains with it.

    As Yolov3, with a map (N, num * (9 + num_class), H, W) whose boxes have a deviation behind each of x, y, w and h.
    The terms of a box are -log(n + 1e-9) / 2 for each of them, weighted by iou_normalizer, coord_scale and the box's
    size; n = exp(-z^2 / 2) / (sqrt(2 pi) (d + 0.3)) is the density of the true value, d the sigmoid of the deviation's
    channel, and z the distance of the true value in units of d. Their gradient, that of the loss, is clipped to
    max_delta; the fork leaves out the factor of the sigmoids. `iou_loss` and `label_smooth_eps` are errors.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        side: read, without effect: as the bottom has (default 13)
        num_class: classes of objects (default 20)
        num: anchors of each position (default 5)
        object_scale: weight of the scores of anchors with an object (default 1)
        class_scale: weight of the classes (default 1)
        noobject_scale: weight of the scores of other anchors (default 0.5)
        coord_scale: weight of the boxes (default 5)
        thresh: boxes with a larger overlap have no term for no object (default 0.2)
        anchors_scale: pixels of the image for one position of the map (default 32)
        biases: width and height of all anchors, in pixels
        mask: those of this map; unset: the first
        use_logic_gradient: squared errors, not cross-entropies (default false)
        use_focal_loss: of the classes (default false)
        iou_loss: of the box; not of GaussianYolov3 (default MSE)
        iou_normalizer: weight of an overlap as the loss of a box, and of GaussianYolov3's boxes (default 0.25)
        iou_thresh: further anchors of a true box have a larger overlap with its shape (default 0.5)
        max_delta: largest gradient of a box by its overlap, and of GaussianYolov3's boxes (default 10)
        accumulate: boxes of one anchor add up; false: the last one counts (default true)
        label_smooth_eps: targets of classes are e / 2 and 1 - e / 2; not of GaussianYolov3 (default 0.1)
        yolov3_param: settings as a dict, or a Yolov3Parameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _GroupNorm(TypedDict, total=False):
    name: str
    in_place: bool
    num_groups: _Int
    eps: _Float
    scale_bias: bool
    scale_filler: _FillerParameter
    bias_filler: _FillerParameter
    group_norm_param: _GroupNormParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def GroupNorm(*bottoms: Top, ntop: int = 1, **settings: Unpack[_GroupNorm]) -> Top:
    """Normalises each of `num_groups` groups of channels of an item (Wu & He 2018).

    Blobs with `scale_bias`: gamma (C) and beta (C).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_groups: groups of channels (default 32)
        eps: added to the variance (default 1e-05)
        scale_bias: learn a factor and a bias (default true)
        scale_filler
        bias_filler
        group_norm_param: settings as a dict, or a GroupNormParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _HDF5Data(TypedDict, total=False):
    name: str
    in_place: bool
    source: str
    batch_size: _Int
    shuffle: bool
    hdf5_data_param: _HDF5DataParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def HDF5Data(*bottoms: Top, ntop: int = 1, **settings: Unpack[_HDF5Data]) -> Any:
    """Rows of the HDF5 files that `source` lists, one file name in each line; one dataset for each top.

    Tops: (batch_size, *shape of a row), named like the datasets. A batch may go across the end of a file or an epoch.
    With `shuffle` every epoch has its own order of files, and every file its own order of rows.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        source: text file that lists HDF5 files
        batch_size: rows in one pass
        shuffle: new order of files and rows every epoch (default false)
        hdf5_data_param: settings as a dict, or a HDF5DataParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _HDF5Output(TypedDict, total=False):
    name: str
    in_place: bool
    file_name: str
    hdf5_output_param: _HDF5OutputParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def HDF5Output(*bottoms: Top, ntop: int = 1, **settings: Unpack[_HDF5Output]) -> Any:
    """Writes its two bottoms to the datasets `data` and `label` of an HDF5 file, appending along axis 0 in every run.

    The file gets its name when the layer is closed (with its net, or at the end of the process); until then it is a
    temporary file in the same folder, so that nothing reads half a file. Commands that only look at a net do not let it
    write (see dragon.files.layer_files).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        file_name: file to write
        hdf5_output_param: settings as a dict, or a HDF5OutputParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _HardSigmoid(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def HardSigmoid(*bottoms: Top, ntop: int = 1, **settings: Unpack[_HardSigmoid]) -> Top:
    """y = clip(x / 6 + 1/2, 0, 1), the piecewise linear sigmoid of MobileNetV3 (Howard et al. 2019).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _HardSwish(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def HardSwish(*bottoms: Top, ntop: int = 1, **settings: Unpack[_HardSwish]) -> Top:
    """y = x * clip(x / 6 + 1/2, 0, 1) (MobileNetV3, Howard et al. 2019).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _HingeLoss(TypedDict, total=False):
    name: str
    in_place: bool
    norm: _Int | Literal['L1', 'L2']
    hinge_loss_param: _HingeLossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def HingeLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_HingeLoss]) -> Top:
    """One-against-all hinge loss: sum(max(0, 1 - t x)^p) / N.

    t is 1 for the class of the label and -1 for the others; p is 1 for `norm` L1 and 2 for L2. Bottoms: x (N, ...) with
    a value for each class, labels (N).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        norm: L1: sum of the violations, L2: of their squares (default L1)
        hinge_loss_param: settings as a dict, or a HingeLossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Im2col(TypedDict, total=False):
    name: str
    in_place: bool
    num_output: _Int
    bias_term: bool
    pad: _Int | Sequence[_Int]
    kernel_size: _Int | Sequence[_Int]
    stride: _Int | Sequence[_Int]
    dilation: _Int | Sequence[_Int]
    pad_h: _Int
    pad_w: _Int
    kernel_h: _Int
    kernel_w: _Int
    stride_h: _Int
    stride_w: _Int
    group: _Int
    weight_filler: _FillerParameter
    bias_filler: _FillerParameter
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    axis: _Int
    force_nd_im2col: bool
    pad_l: _Int
    pad_r: _Int
    pad_t: _Int
    pad_b: _Int
    relu: bool
    negative_slope: _Float
    kernel_depth: _Int
    temporal_stride: _Int
    temporal_pad: _Int
    filter_group: _Int
    kernel_shape: _BlobShape
    stride_shape: _BlobShape
    pad_shape: _BlobShape
    convolution_param: _ConvolutionParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Im2col(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Im2col]) -> Top:
    """Every window of the bottom (..., C, *size) as a column: (..., C * kernel, *positions).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_output: channels of the top
        bias_term: add a bias for each channel (default true)
        pad: zeros on each side, 0 by default
        kernel_size: one for all axes, or one for each
        stride: 1 by default
        dilation: distance of a kernel's points, 1 by default
        pad_h: instead of pad (default 0)
        pad_w: instead of pad (default 0)
        kernel_h: instead of kernel_size
        kernel_w: instead of kernel_size
        stride_h: instead of stride
        stride_w: instead of stride
        group: parts of the channels that are convolved apart (default 1)
        weight_filler: start of the weights, 0 by default
        bias_filler: start of the bias, 0 by default
        engine: read, without effect: --engine chooses (default DEFAULT)
        axis: of the channels; those behind it are spatial (default 1)
        force_nd_im2col: read, without effect (default false)
        pad_l: on the left (default 0)
        pad_r: on the right (default 0)
        pad_t: at the top (default 0)
        pad_b: at the bottom (default 0)
        relu: Intel Caffe's: read as a ReLU layer in place behind this one (default false)
        negative_slope: of that ReLU (default 0)
        kernel_depth: C3D's: extent along the first of three axes
        temporal_stride: C3D's: stride along the first of three axes (default 1)
        temporal_pad: C3D's: padding of the first of three axes (default 0)
        filter_group: C3D's: parts in which outputs are computed, to save memory (default 1)
        kernel_shape: of NdConvolution: kernel_size
        stride_shape: of NdConvolution: stride
        pad_shape: of NdConvolution: pad
        convolution_param: settings as a dict, or a ConvolutionParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _ImageData(TypedDict, total=False):
    name: str
    in_place: bool
    source: str
    batch_size: _Int
    rand_skip: _Int
    shuffle: bool
    new_height: _Int
    new_width: _Int
    is_color: bool
    scale: _Float
    mean_file: str
    crop_size: _Int
    mirror: bool
    root_folder: str
    label_type: _Int | Literal['NONE', 'IMAGE', 'PIXEL']
    ignore_label: _Int
    new_length: _Int
    use_image: bool
    sampling_rate: _Int
    use_temporal_jitter: bool
    show_data: _Int
    mean_value: _Float | Sequence[_Float]
    force_color: bool
    force_gray: bool
    resize_param: _ResizeParameter | Sequence[_ResizeParameter]
    noise_param: _NoiseParameter
    emit_constraint: _EmitConstraint
    crop_h: _Int
    crop_w: _Int
    distort_param: _DistortionParameter
    expand_param: _ExpansionParameter
    zero_pad: _Int
    cutout: _Int
    brightness: _Float
    contrast: _Float
    saturation: _Float
    scale_factors: _Float | Sequence[_Float]
    crop_width: _Int
    crop_height: _Int
    image_data_param: _ImageDataParameter
    transform_param: _TransformationParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def ImageData(*bottoms: Top, ntop: int = 1, **settings: Unpack[_ImageData]) -> Any:
    """Images of the files that `source` lists ("FILE LABEL" lines), resized, transformed, and read ahead by a thread.

    Tops: data (batch_size, C, h, w), blue first, and label (batch_size). Without resizing and cropping, the first image
    of each batch decides h and w. With `shuffle` every epoch has its own order. A `source` that is a folder has
    a folder for each class: labels are those of classes.txt in it or beside it, else the folders' order by name.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        source: text file of lines: image label; or a folder with a folder for each class
        batch_size: images in one pass (default 1)
        rand_skip: skip up to so many lines at the start (default 0)
        shuffle: new order every epoch (default false)
        new_height: resize to; 0: as the file is (default 0)
        new_width: resize to; 0: as the file is (default 0)
        is_color: false: one channel of grey (default true)
        scale: older place of transform_param's (default 1)
        mean_file: older place of transform_param's
        crop_size: older place of transform_param's (default 0)
        mirror: older place of transform_param's (default false)
        root_folder: put before each image's name (default "")
        label_type: a line's second word: none, a label, a label map's file (default IMAGE)
        ignore_label: label where the image is padded, or where there is none (default 255)
        new_length
        use_image
        sampling_rate
        use_temporal_jitter
        show_data
        mean_value: instead of it: one for all channels, or one for each
        force_color: make images of one channel colour (default false)
        force_gray: make colour images grey (default false)
        resize_param: how images are resized; of several each batch follows one
        noise_param: changes of resized images
        emit_constraint: which boxes a window keeps
        crop_h: height of a cut, instead of crop_size, with crop_w (default 0)
        crop_w: width of a cut, with crop_h (default 0)
        distort_param: random changes of colour
        expand_param: larger canvases
        zero_pad: zeros on each side, after the mean; crop_size takes its window from what results (default 0)
        cutout: side of a square that becomes zero, after all else; 0: none (default 0)
        brightness: b multiplies values by a factor from [1 - b, 1 + b] (default 0)
        contrast: the same for differences from the image's mean grey (default 0)
        saturation: the same for differences from each pixel's grey (default 0)
        scale_factors: resize by one of these factors, chosen at random
        crop_width: instead of crop_size, with crop_height (default 0)
        crop_height: instead of crop_size, with crop_width (default 0)
        image_data_param: settings as a dict, or a ImageDataParameter
        transform_param: settings as a dict, or a TransformationParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _ImageSegData(TypedDict, total=False):
    name: str
    in_place: bool
    source: str
    batch_size: _Int
    rand_skip: _Int
    shuffle: bool
    new_height: _Int
    new_width: _Int
    is_color: bool
    scale: _Float
    mean_file: str
    crop_size: _Int
    mirror: bool
    root_folder: str
    label_type: _Int | Literal['NONE', 'IMAGE', 'PIXEL']
    ignore_label: _Int
    new_length: _Int
    use_image: bool
    sampling_rate: _Int
    use_temporal_jitter: bool
    show_data: _Int
    mean_value: _Float | Sequence[_Float]
    force_color: bool
    force_gray: bool
    resize_param: _ResizeParameter | Sequence[_ResizeParameter]
    noise_param: _NoiseParameter
    emit_constraint: _EmitConstraint
    crop_h: _Int
    crop_w: _Int
    distort_param: _DistortionParameter
    expand_param: _ExpansionParameter
    zero_pad: _Int
    cutout: _Int
    brightness: _Float
    contrast: _Float
    saturation: _Float
    scale_factors: _Float | Sequence[_Float]
    crop_width: _Int
    crop_height: _Int
    image_data_param: _ImageDataParameter
    transform_param: _TransformationParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def ImageSegData(*bottoms: Top, ntop: int = 1, **settings: Unpack[_ImageSegData]) -> Any:
    """Images with label maps, from the files that `source` lists, as in DeepLab and PSPNet.

    Lines: "IMAGE MAP" with `label_type: PIXEL`; "IMAGE LABEL" with IMAGE (the default), for one label in the whole
    map; "IMAGE" with NONE, for maps of `ignore_label`. Tops: data (batch_size, C, h, w), blue first; label
    (batch_size, 1, h, w); optionally data_dim (batch_size, 1, 1, 2), the height and width of each image, at most h, w.

    Image and map are resized by one of `scale_factors`, padded below and on the right up to the crop (by the mean
    colour and by `ignore_label`), cropped (at random in TRAIN) and mirrored together; maps take the nearest label. A
    map's labels are its grey values, or the indices of its palette.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        source: text file of lines: image label; or a folder with a folder for each class
        batch_size: images in one pass (default 1)
        rand_skip: skip up to so many lines at the start (default 0)
        shuffle: new order every epoch (default false)
        new_height: resize to; 0: as the file is (default 0)
        new_width: resize to; 0: as the file is (default 0)
        is_color: false: one channel of grey (default true)
        scale: older place of transform_param's (default 1)
        mean_file: older place of transform_param's
        crop_size: older place of transform_param's (default 0)
        mirror: older place of transform_param's (default false)
        root_folder: put before each image's name (default "")
        label_type: a line's second word: none, a label, a label map's file (default IMAGE)
        ignore_label: label where the image is padded, or where there is none (default 255)
        new_length
        use_image
        sampling_rate
        use_temporal_jitter
        show_data
        mean_value: instead of it: one for all channels, or one for each
        force_color: make images of one channel colour (default false)
        force_gray: make colour images grey (default false)
        resize_param: how images are resized; of several each batch follows one
        noise_param: changes of resized images
        emit_constraint: which boxes a window keeps
        crop_h: height of a cut, instead of crop_size, with crop_w (default 0)
        crop_w: width of a cut, with crop_h (default 0)
        distort_param: random changes of colour
        expand_param: larger canvases
        zero_pad: zeros on each side, after the mean; crop_size takes its window from what results (default 0)
        cutout: side of a square that becomes zero, after all else; 0: none (default 0)
        brightness: b multiplies values by a factor from [1 - b, 1 + b] (default 0)
        contrast: the same for differences from the image's mean grey (default 0)
        saturation: the same for differences from each pixel's grey (default 0)
        scale_factors: resize by one of these factors, chosen at random
        crop_width: instead of crop_size, with crop_height (default 0)
        crop_height: instead of crop_size, with crop_width (default 0)
        image_data_param: settings as a dict, or a ImageDataParameter
        transform_param: settings as a dict, or a TransformationParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _InfogainLoss(TypedDict, total=False):
    name: str
    in_place: bool
    source: str
    axis: _Int
    ignore_label: _Int
    normalization: _Int | Literal['FULL', 'VALID', 'BATCH_SIZE', 'NONE', 'PRE_FIXED']
    normalize: bool
    weight_by_label_freqs: bool
    class_weighting: _Float | Sequence[_Float]
    pre_fixed_normalizer: _Float
    infogain_loss_param: _InfogainLossParameter
    loss_param: _LossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def InfogainLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_InfogainLoss]) -> Any:
    """Softmax, then -sum_k H[label, k] log(p_k), divided as `loss_param` says.

    H (classes x classes) is bottom 2, or is read from the BlobProto file `source`; with the identity this is
    SoftmaxWithLoss. The second top holds the probabilities.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        source: file of the matrix, where it is no third bottom
        axis: of the classes (default 1)
        ignore_label: for losses with a label for each score: those with this label do not count
        normalization: what the sum is divided by (default VALID)
        normalize: older form of normalization
        weight_by_label_freqs: for SoftmaxWithLoss, with class_weighting (default false)
        class_weighting: for SoftmaxWithLoss, one per class
        pre_fixed_normalizer: what PRE_FIXED divides by (default 1)
        infogain_loss_param: settings as a dict, or a InfogainLossParameter
        loss_param: settings as a dict, or a LossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _InnerProduct(TypedDict, total=False):
    name: str
    in_place: bool
    num_output: _Int
    bias_term: bool
    weight_filler: _FillerParameter
    bias_filler: _FillerParameter
    axis: _Int
    transpose: bool
    relu: bool
    negative_slope: _Float
    inner_product_param: _InnerProductParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def InnerProduct(*bottoms: Top, ntop: int = 1, **settings: Unpack[_InnerProduct]) -> Top:
    """y = x W^T + b over the axes from `axis` on; with `transpose`, y = x W + b.

    Blobs: weight (num_output, K), or (K, num_output) with `transpose`; bias (num_output). K is the product of those
    axes.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_output: outputs of one example
        bias_term: add a bias (default true)
        weight_filler: start of the weights, 0 by default
        bias_filler: start of the bias, 0 by default
        axis: axes from this one on are one vector (default 1)
        transpose: the weights are stored (inputs, outputs) (default false)
        relu: Intel Caffe's: read as a ReLU layer in place behind this one (default false)
        negative_slope: of that ReLU (default 0)
        inner_product_param: settings as a dict, or a InnerProductParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Input(TypedDict, total=False):
    name: str
    in_place: bool
    shape: _BlobShape | Sequence[_BlobShape]
    input_param: _InputParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Input(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Input]) -> Any:
    """Tops of given shapes that the caller fills; their shapes may be changed between runs.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        shape: one for all tops, or one for each
        input_param: settings as a dict, or a InputParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Insanity(TypedDict, total=False):
    name: str
    in_place: bool
    lb: _Float
    ub: _Float
    insanity_param: _InsanityParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Insanity(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Insanity]) -> Top:
    """y = x for x > 0, else x / s: the randomised leaky ReLU of caffe-windows (Xu et al. 2015).

    In TRAIN s is drawn for each element, uniform between `lb` and `ub`; in TEST it is their logarithmic mean
    (ub - lb) / ln(ub / lb), so that 1 / s is the mean of the drawn slopes.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        lb: least number that values below 0 are divided by (default 5)
        ub: largest one (default 10)
        insanity_param: settings as a dict, or a InsanityParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _InstanceNorm(TypedDict, total=False):
    name: str
    in_place: bool
    eps: _Float
    scale_bias: bool
    scale_filler: _FillerParameter
    bias_filler: _FillerParameter
    instance_norm_param: _InstanceNormParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def InstanceNorm(*bottoms: Top, ntop: int = 1, **settings: Unpack[_InstanceNorm]) -> Top:
    """Normalises each channel of an item by its own statistics (Ulyanov, Vedaldi & Lempitsky 2016).

    Blobs with `scale_bias` (or one of its fillers): gamma (C) and beta (C).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        eps: added to the variance (default 1e-05)
        scale_bias: learn a factor and a bias (default false)
        scale_filler
        bias_filler
        instance_norm_param: settings as a dict, or a InstanceNormParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Interp(TypedDict, total=False):
    name: str
    in_place: bool
    height: _Int
    width: _Int
    zoom_factor: _Int
    shrink_factor: _Int
    pad_beg: _Int
    pad_end: _Int
    interp_param: _InterpParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Interp(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Interp]) -> Top:
    """Bilinear resizing with aligned corners (DeepLab, PSPNet).

    The size is `height` and `width`, or that of a second bottom, or follows from `shrink_factor` and `zoom_factor`.
    pad_beg and pad_end, which are 0 or negative, crop the borders first.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        height (default 0)
        width (default 0)
        zoom_factor (default 1)
        shrink_factor (default 1)
        pad_beg (default 0)
        pad_end (default 0)
        interp_param: settings as a dict, or a InterpParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _L1Loss(TypedDict, total=False):
    name: str
    in_place: bool
    l2_per_location: bool
    l2_prescale_by_channels: bool
    normalize_by_num_entries: bool
    epsilon: _Float
    plateau: _Float
    l1_loss_param: _L1LossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def L1Loss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_L1Loss]) -> Top:
    """sum |a - b| / N; both bottoms can have a gradient. With one bottom, that is the difference.

    `l1_loss_param` makes it FlowNet's loss (Ilg et al. 2017): differences that are NaN, or smaller than `plateau`,
    count as 0 and have no gradient. `l2_per_location`: the sum over positions of sqrt(sum over channels + epsilon) of
    squares; `plateau` then holds for the root of that sum, and `l2_prescale_by_channels` divides it by their number.
    `normalize_by_num_entries` divides by the number of differences that are not NaN over the channels, instead of N.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        l2_per_location: the length of the vector at each position, over the channels (default false)
        l2_prescale_by_channels: divides the squares' sum by the number of channels (default false)
        normalize_by_num_entries: divides by what is not NaN, not by the batch size (default false)
        epsilon: added to a sum of squares before the root (default 0.01)
        plateau: smaller differences count as 0 (default 0)
        l1_loss_param: settings as a dict, or a L1LossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _LRN(TypedDict, total=False):
    name: str
    in_place: bool
    local_size: _Int
    alpha: _Float
    beta: _Float
    norm_region: _Int | Literal['ACROSS_CHANNELS', 'WITHIN_CHANNEL']
    k: _Float
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    lrn_param: _LRNParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def LRN(*bottoms: Top, ntop: int = 1, **settings: Unpack[_LRN]) -> Top:
    """Local response normalisation (Krizhevsky et al. 2012): y = x / (k + alpha / n * sum of x^2 nearby) ^ beta.

    ACROSS_CHANNELS sums over `local_size` channels around each, and n is local_size. WITHIN_CHANNEL sums over a square
    of local_size by local_size pixels around each; there n is local_size^2, also at the border, and k is 1 whatever the
    setting says, as in Caffe.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        local_size: odd (default 5)
        alpha: factor of the sum of squares (default 1)
        beta: exponent (default 0.75)
        norm_region: neighbours are other channels, or other pixels (default ACROSS_CHANNELS)
        k: added to the sum (default 1)
        engine: read, without effect: --engine chooses (default DEFAULT)
        lrn_param: settings as a dict, or a LRNParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _LSTM(TypedDict, total=False):
    name: str
    in_place: bool
    num_output: _Int
    weight_filler: _FillerParameter
    bias_filler: _FillerParameter
    debug_info: bool
    expose_hidden: bool
    recurrent_param: _RecurrentParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def LSTM(*bottoms: Top, ntop: int = 1, **settings: Unpack[_LSTM]) -> Any:
    """Long short-term memory over sequences (Hochreiter & Schmidhuber 1997, with forget gates).

    Blobs: W_xc (4 D, inputs), b_c (4 D), [W_xc_static (4 D, static inputs)], W_hc (4 D, D); gates in the order i, f, o,
    g. States: h, c. Bottoms and tops: see `dragon.bases.recurrent`.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_output: size of the state (default 0)
        weight_filler: start of the weights, 0 by default
        bias_filler: start of the biases, 0 by default
        debug_info: log the size of the last states (default false)
        expose_hidden: the first and last states are bottoms and tops (default false)
        recurrent_param: settings as a dict, or a RecurrentParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _LSTMUnit(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def LSTMUnit(*bottoms: Top, ntop: int = 1, **settings: Unpack[_LSTMUnit]) -> Any:
    """One step of an LSTM, from the gates before their activation to the new cell and output.

    Hochreiter & Schmidhuber 1997, with forget gates: i, f, o = sigmoid, g = tanh of the four quarters of the gates; c =
    cont * f * c_prev + i * g; h = o * tanh(c). Bottoms: c_prev (1, N, D), gates (1, N, 4 D), cont (1, N). Tops: c and
    h, both (1, N, D).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _LabelSpecificAdd(TypedDict, total=False):
    name: str
    in_place: bool
    bias: _Float
    transform_test: bool
    bias_base: _Float
    bias_gamma: _Float
    bias_power: _Float
    bias_min: _Float
    bias_max: _Float
    iteration: _Int
    label_specific_add_param: _LabelSpecificAddParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def LabelSpecificAdd(*bottoms: Top, ntop: int = 1, **settings: Unpack[_LabelSpecificAdd]) -> Any:
    """Adds `bias` to the score of the own class, where that is above -bias (AM-Softmax; Wang et al. 2018).

    Bottoms: scores (N, classes), usually cosines, and labels (N). Tops: scores, and optionally the bias (1). With
    `bias_base` the bias of training iteration n, counted from `iteration`, is bias_base + (1 + bias_gamma n)^bias_power
    - 1, limited to bias_min .. bias_max. TEST copies, unless `transform_test` is set. The gradient passes unchanged.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        bias: added to the score of the own class; a margin m is -m (default 0)
        transform_test: in TEST too (default false)
        bias_base: instead of bias: bias_base + (1 + bias_gamma n)^bias_power - 1 (default 0)
        bias_gamma (default 0)
        bias_power (default 1)
        bias_min: limits of that (default 0)
        bias_max (default 0)
        iteration: n in the first iteration (default 0)
        label_specific_add_param: settings as a dict, or a LabelSpecificAddParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _LabelsequenceAccuracy(TypedDict, total=False):
    name: str
    in_place: bool
    blank_label: _Int
    labelsequence_accuracy_param: _LabelsequenceAccuracyParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def LabelsequenceAccuracy(*bottoms: Top, ntop: int = 1, **settings: Unpack[_LabelsequenceAccuracy]) -> Top:
    """The fraction of sequences whose most probable path reads as their label, without a fault.

    Bottoms: scores (N, T, C), batch first as a Permute behind the net gives them, and labels (N, L), which the blank
    class and -1 fill up. A path is read as CTCLoss does: repeated classes are one label, then blanks are left out.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        blank_label: class that stands for no label; negative: counted from the last one (default 0)
        labelsequence_accuracy_param: settings as a dict, or a LabelsequenceAccuracyParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _LargeMarginInnerProduct(TypedDict, total=False):
    name: str
    in_place: bool
    num_output: _Int
    type: _Int | Literal['SINGLE', 'DOUBLE', 'TRIPLE', 'QUADRUPLE']
    weight_filler: _FillerParameter
    axis: _Int
    base: _Float
    gamma: _Float
    power: _Float
    iteration: _Int
    lambda_min: _Float
    largemargin_inner_product_param: _LargeMarginInnerProductParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def LargeMarginInnerProduct(*bottoms: Top, ntop: int = 1, **settings: Unpack[_LargeMarginInnerProduct]) -> Any:
    """Inner product with an angular margin (L-Softmax; Liu et al. 2016).

    y = <x, w> = |x| |w| cos(theta), and for the class of the item (|x| |w| psi(theta) + lambda <x, w>) / (1 + lambda),
    where psi has the margin m of `type`: SINGLE 1, which is no margin, to QUADRUPLE 4. lambda = max(base (1 + gamma
    n)^-power, lambda_min) in training iteration n. Bottoms: x (N, ...) and labels (N). Tops: (N, num_output), and
    optionally lambda (1). Blob: weight (num_output, K).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_output: classes
        type: SINGLE is no margin (default SINGLE)
        weight_filler
        axis: this axis and the following ones are the inputs (default 1)
        base: lambda = max(base (1 + gamma n)^-power, lambda_min) (default 1)
        gamma (default 0)
        power (default 1)
        iteration: n in the first iteration, less 1 (default 0)
        lambda_min (default 0)
        largemargin_inner_product_param: settings as a dict, or a LargeMarginInnerProductParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _LayerNorm(TypedDict, total=False):
    name: str
    in_place: bool
    axis: _Int
    eps: _Float
    scale_bias: bool
    scale_filler: _FillerParameter
    bias_filler: _FillerParameter
    layer_norm_param: _LayerNormParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def LayerNorm(*bottoms: Top, ntop: int = 1, **settings: Unpack[_LayerNorm]) -> Top:
    """Normalises each item over all axes from `axis` on (Ba, Kiros & Hinton 2016).

    Blobs with `scale_bias`: gamma and beta, of the shape of those axes.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        axis: first axis of what is normalised (default 1)
        eps: added to the variance (default 1e-05)
        scale_bias: learn a factor and a bias (default true)
        scale_filler
        bias_filler
        layer_norm_param: settings as a dict, or a LayerNormParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Local(TypedDict, total=False):
    name: str
    in_place: bool
    num_output: _Int
    bias_term: bool
    pad: _Int | Sequence[_Int]
    kernel_size: _Int | Sequence[_Int]
    stride: _Int | Sequence[_Int]
    weight_filler: _FillerParameter
    bias_filler: _FillerParameter
    pad_h: _Int
    pad_w: _Int
    kernel_h: _Int
    kernel_w: _Int
    stride_h: _Int
    stride_w: _Int
    local_param: _LocalParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Local(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Local]) -> Top:
    """A convolution with weights of its own at each position, without groups (locally connected).

    bottom: (N, C, *size), of the size that the layer was set up with; top: (N, num_output, *positions). Blobs: weight
    (num_output, 1, C * kernel elements, positions), bias (1, 1, num_output, positions), as in caffe-windows.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_output: channels of the top
        bias_term: add a bias for each channel and position (default true)
        pad: zeros on each side, 0 by default
        kernel_size: one for all axes, or one for each
        stride: 1 by default
        weight_filler: start of the weights, 0 by default
        bias_filler: start of the bias, 0 by default
        pad_h: instead of pad (default 0)
        pad_w: instead of pad (default 0)
        kernel_h: instead of kernel_size
        kernel_w: instead of kernel_size
        stride_h: instead of stride
        stride_w: instead of stride
        local_param: settings as a dict, or a LocalParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Log(TypedDict, total=False):
    name: str
    in_place: bool
    base: _Float
    scale: _Float
    shift: _Float
    log_param: _LogParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Log(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Log]) -> Top:
    """y = log(scale * x + shift) to `base`; a base of -1 stands for e.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        base: -1 stands for e (default -1)
        scale: of x (default 1)
        shift: of x (default 0)
        log_param: settings as a dict, or a LogParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Lstm(TypedDict, total=False):
    name: str
    in_place: bool
    num_output: _Int
    clipping_threshold: _Float
    weight_filler: _FillerParameter
    bias_filler: _FillerParameter
    batch_size: _Int
    lstm_param: _LSTMParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Lstm(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Lstm]) -> Top:
    """The LSTM of caffe-lstm (junhyukoh), whose sequences are rows of one axis.

    bottom 0: (T * N, ...), step by step, with N = batch_size; top: (T * N, num_output). A bottom of three axes without
    batch_size is (T, N, inputs), the top (T, N, num_output), as caffe_ocr has it. bottom 1, `clip` (T * N), is 0 where
    a sequence begins; with it a batch begins with the final states of the batch before, without it with zeros.
    No gradient flows between batches. Gates are in the order i, f, o, g, as in LSTM. With `clipping_threshold` above 0,
    gradients of the gates before activation are limited to [-clipping_threshold, clipping_threshold].

    Blobs: input weight (4 D, inputs), recurrent weight (4 D, D), bias (4 D).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_output: size of the state
        clipping_threshold: limits each gradient of a gate before activation; 0: none (default 0)
        weight_filler: start of the weights, 0 by default
        bias_filler: start of the biases, 0 by default
        batch_size: sequences side by side (default 1)
        lstm_param: settings as a dict, or a LSTMParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _MVN(TypedDict, total=False):
    name: str
    in_place: bool
    normalize_variance: bool
    across_channels: bool
    eps: _Float
    mvn_param: _MVNParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def MVN(*bottoms: Top, ntop: int = 1, **settings: Unpack[_MVN]) -> Top:
    """y = (x - mean) / (std + eps) for each channel of each item, or with `across_channels` for each item.

    Without `normalize_variance` only the mean is subtracted.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        normalize_variance: false: subtract the mean only (default true)
        across_channels: one mean for all channels of an item (default false)
        eps: added to the standard deviation (default 1e-09)
        mvn_param: settings as a dict, or a MVNParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _MalisLoss(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def MalisLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_MalisLoss]) -> Top:
    """The maximin affinity loss of segmentations (Turaga et al. 2009), as the Caffe of Greentea has it.

    Bottoms: predicted affinities (N, edges, [Z, [Y,]] X), in [0, 1]; the true ones, of the same shape; the segments (N,
    1 or 2, [Z, [Y,]] X), 0 where there is none; optionally the edges (edges, 3), the distance of the second voxel of an
    edge along Z, Y and X. Without them the edges are the last of +Z, +Y, +X. Of two channels of segments, the first is
    for pairs in different segments and the second for pairs in one. A voxel at the end of an axis begins no edge.

    The affinity m of two voxels is that of the weakest edge on the path whose weakest edge is strongest. With
    min(predicted, true) as affinities the loss of pairs in one segment is the mean of (1 - m)^2; with
    max(predicted, true) that of pairs in different segments is the mean of m^2. top: half their sum, averaged over the
    items. The gradient is that of this loss; Greentea's backward gives half of it times N, also where the true affinity
    decides.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _MarginInnerProduct(TypedDict, total=False):
    name: str
    in_place: bool
    num_output: _Int
    type: _Int | Literal['SINGLE', 'DOUBLE', 'TRIPLE', 'QUADRUPLE']
    weight_filler: _FillerParameter
    axis: _Int
    base: _Float
    gamma: _Float
    power: _Float
    iteration: _Int
    lambda_min: _Float
    margin_inner_product_param: _MarginInnerProductParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def MarginInnerProduct(*bottoms: Top, ntop: int = 1, **settings: Unpack[_MarginInnerProduct]) -> Any:
    """Inner product with weights of length 1 and an angular margin (SphereFace, A-Softmax; Liu et al. 2017).

    y = |x| cos(theta), and for the class of the item (|x| psi(theta) + lambda |x| cos(theta)) / (1 + lambda), where psi
    has the margin m of `type`: SINGLE 1, which is no margin, to QUADRUPLE 4. lambda = max(base (1 + gamma n)^-power,
    lambda_min) in training iteration n. Bottoms: x (N, ...) and labels (N). Tops: (N, num_output), and optionally
    lambda (1). Blob: weight (num_output, K); w / |w| is used, and the weight itself stays as it is.

    The gradients are those of this formula. SphereFace's program takes others: it scales an item's own gradient to the
    length of a plain one, and that of the weights is of the product without margin.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_output: classes
        type: SINGLE is no margin (default SINGLE)
        weight_filler
        axis: this axis and the following ones are the inputs (default 1)
        base: lambda = max(base (1 + gamma n)^-power, lambda_min) (default 1)
        gamma (default 0)
        power (default 1)
        iteration: n in the first iteration, less 1 (default 0)
        lambda_min (default 0)
        margin_inner_product_param: settings as a dict, or a MarginInnerProductParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _MaskPooling(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def MaskPooling(*bottoms: Top, ntop: int = 1, **settings: Unpack[_MaskPooling]) -> Top:
    """Features times a mask, the same for all channels (multi-task network cascades, Dai et al. 2016).

    Bottoms: features (N, C, H, W) and masks (N, 1, H, W). Top: of the features' shape.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _MaskResize(TypedDict, total=False):
    name: str
    in_place: bool
    output_width: _Int
    output_height: _Int
    mask_resize_param: _MaskResizeParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def MaskResize(*bottoms: Top, ntop: int = 1, **settings: Unpack[_MaskResize]) -> Top:
    """Bilinear resizing of masks (multi-task network cascades, Dai et al. 2016).

    Bottom: (N, C, H, W). Top: (N, C, output_height, output_width): position i of an axis takes position i * H /
    output_height of the bottom, and 0 where that lies more than half a position behind its end.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        output_width: of the masks that come out
        output_height: of the masks that come out
        mask_resize_param: settings as a dict, or a MaskResizeParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _MemoryData(TypedDict, total=False):
    name: str
    in_place: bool
    batch_size: _Int
    channels: _Int
    height: _Int
    width: _Int
    scale: _Float
    mirror: bool
    crop_size: _Int
    mean_file: str
    mean_value: _Float | Sequence[_Float]
    force_color: bool
    force_gray: bool
    resize_param: _ResizeParameter | Sequence[_ResizeParameter]
    noise_param: _NoiseParameter
    emit_constraint: _EmitConstraint
    crop_h: _Int
    crop_w: _Int
    distort_param: _DistortionParameter
    expand_param: _ExpansionParameter
    zero_pad: _Int
    cutout: _Int
    brightness: _Float
    contrast: _Float
    saturation: _Float
    scale_factors: _Float | Sequence[_Float]
    crop_width: _Int
    crop_height: _Int
    memory_data_param: _MemoryDataParameter
    transform_param: _TransformationParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def MemoryData(*bottoms: Top, ntop: int = 1, **settings: Unpack[_MemoryData]) -> Any:
    """Batches of arrays that the program sets, over and over again.

    Tops: data (batch_size, channels, height, width) and label (batch_size). Forward raises DataError before arrays are
    set.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        batch_size: items in one pass
        channels: of an item
        height: of an item
        width: of an item
        scale: factor, after the mean is taken off (default 1)
        mirror: flip half of the images, at random (default false)
        crop_size: side of a cut: at random in TRAIN, in the middle in TEST; 0: none (default 0)
        mean_file: mean image to take off
        mean_value: instead of it: one for all channels, or one for each
        force_color: make images of one channel colour (default false)
        force_gray: make colour images grey (default false)
        resize_param: how images are resized; of several each batch follows one
        noise_param: changes of resized images
        emit_constraint: which boxes a window keeps
        crop_h: height of a cut, instead of crop_size, with crop_w (default 0)
        crop_w: width of a cut, with crop_h (default 0)
        distort_param: random changes of colour
        expand_param: larger canvases
        zero_pad: zeros on each side, after the mean; crop_size takes its window from what results (default 0)
        cutout: side of a square that becomes zero, after all else; 0: none (default 0)
        brightness: b multiplies values by a factor from [1 - b, 1 + b] (default 0)
        contrast: the same for differences from the image's mean grey (default 0)
        saturation: the same for differences from each pixel's grey (default 0)
        scale_factors: resize by one of these factors, chosen at random
        crop_width: instead of crop_size, with crop_height (default 0)
        crop_height: instead of crop_size, with crop_width (default 0)
        memory_data_param: settings as a dict, or a MemoryDataParameter
        transform_param: settings as a dict, or a TransformationParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Mish(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Mish(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Mish]) -> Top:
    """y = x * tanh(log(1 + exp(x))) (Misra 2019).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Mul(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Mul(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Mul]) -> Top:
    """The product of the bottoms; axes of extent 1 in all but the first bottom are broadcast.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _MultiBoxLoss(TypedDict, total=False):
    name: str
    in_place: bool
    loc_loss_type: _Int | Literal['L2', 'SMOOTH_L1']
    conf_loss_type: _Int | Literal['SOFTMAX', 'LOGISTIC']
    loc_weight: _Float
    num_classes: _Int
    share_location: bool
    match_type: _Int | Literal['BIPARTITE', 'PER_PREDICTION']
    overlap_threshold: _Float
    use_prior_for_matching: bool
    background_label_id: _Int
    use_difficult_gt: bool
    do_neg_mining: bool
    neg_pos_ratio: _Float
    neg_overlap: _Float
    code_type: _Int | Literal['CORNER', 'CENTER_SIZE', 'CORNER_SIZE']
    encode_variance_in_target: bool
    map_object_to_agnostic: bool
    ignore_cross_boundary_bbox: bool
    bp_inside: bool
    mining_type: _Int | Literal['NONE', 'MAX_NEGATIVE', 'HARD_EXAMPLE']
    nms_param: _NonMaximumSuppressionParameter
    sample_size: _Int
    use_prior_for_nms: bool
    objectness_score: _Float
    ignore_label: _Int
    normalization: _Int | Literal['FULL', 'VALID', 'BATCH_SIZE', 'NONE', 'PRE_FIXED']
    normalize: bool
    weight_by_label_freqs: bool
    class_weighting: _Float | Sequence[_Float]
    pre_fixed_normalizer: _Float
    multibox_loss_param: _MultiBoxLossParameter
    loss_param: _LossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def MultiBoxLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_MultiBoxLoss]) -> Top:
    """SSD's loss (Liu et al. 2016): of the offsets of boxes that match a label, and of the classes of boxes.

    Bottoms: offsets (N, P * 4), or (N, P * classes * 4) without `share_location`; scores (N, P * classes), before the
    softmax; the PriorBox top (1, 2, P * 4); labels (1, 1, G, 8) of AnnotatedData: rows item, class, instance, xmin,
    ymin, xmax, ymax, difficult, with an item of -1 where there is no box. Top: loc_weight * offsets' loss + classes'
    loss, each summed and divided by the number of matches, or as `loss_param` says.

    RefineDet (Zhang et al. 2018) has two more: the probabilities (N, P * 2) of background and object, and the offsets
    (N, P * 4), both of its first step. The offsets move the default boxes of each image before everything else, and
    boxes whose probability of an object is below `objectness_score` are no hard examples. They get no gradient. In the
    loss of the first step, with `objectness_score` and two classes, every label has the class 1.

    A default box (or with `use_prior_for_matching: false` the box that is predicted from it) matches the label that it
    overlaps most; see `dragon.bases.box_matching`. Boxes without a match have the class background. Which of them
    count is what `mining_type` says: NONE all, MAX_NEGATIVE those with the largest loss, HARD_EXAMPLE the `sample_size`
    boxes of an image with the largest loss, with a match or without one; see `dragon.bases.hard_examples`. With mining
    an image without labels adds nothing. A bottom 0 or 1 whose `propagate_down` is false adds nothing either.

    The gradient is that of this loss. The Caffe of SSD differs in two places: its gradient of offsets lacks the factor
    1 / variance where `encode_variance_in_target` is set, and for LOGISTIC without mining it has targets of 0 for
    boxes without a match, also for the background.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        loc_loss_type: loss of offsets (default SMOOTH_L1)
        conf_loss_type: loss of classes: softmax, or a sigmoid for each (default SOFTMAX)
        loc_weight: weight of the loss of offsets (default 1)
        num_classes: with the background
        share_location: one box for all classes, not one for each (default true)
        match_type: PER_PREDICTION: any number of boxes for a label; BIPARTITE: one (default PER_PREDICTION)
        overlap_threshold: PER_PREDICTION: least overlap of a match (default 0.5)
        use_prior_for_matching: default boxes are matched; false: predicted ones (default true)
        background_label_id: the label of the background (default 0)
        use_difficult_gt: false: difficult labels do not count (default true)
        do_neg_mining: older form of mining_type; false: NONE
        neg_pos_ratio: MAX_NEGATIVE: most negatives for each match (default 3)
        neg_overlap: MAX_NEGATIVE: negatives have a smaller overlap with labels (default 0.5)
        code_type: how offsets are coded (default CORNER)
        encode_variance_in_target: the loss of offsets is divided by variances, not the offsets (default false)
        map_object_to_agnostic: all labels are class 1 (default false)
        ignore_cross_boundary_bbox: boxes that cross the border of the image do not count (default false)
        bp_inside: coordinates outside of the image have no loss of offsets (default false)
        mining_type: which boxes count in the loss of classes (default MAX_NEGATIVE)
        nms_param: with mining: of examples that overlap only the hardest counts
        sample_size: HARD_EXAMPLE: boxes of an image that count (default 64)
        use_prior_for_nms: nms_param compares default boxes; false: predicted ones (default false)
        objectness_score: of bottom 4: boxes below this are no hard examples (RefineDet) (default 0.01)
        ignore_label: for losses with a label for each score: those with this label do not count
        normalization: what the sum is divided by (default VALID)
        normalize: older form of normalization
        weight_by_label_freqs: for SoftmaxWithLoss, with class_weighting (default false)
        class_weighting: for SoftmaxWithLoss, one per class
        pre_fixed_normalizer: what PRE_FIXED divides by (default 1)
        multibox_loss_param: settings as a dict, or a MultiBoxLossParameter
        loss_param: settings as a dict, or a LossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _MultiLabelImageData(TypedDict, total=False):
    name: str
    in_place: bool
    source: str
    batch_size: _Int
    rand_skip: _Int
    shuffle: bool
    new_height: _Int
    new_width: _Int
    is_color: bool
    scale: _Float
    mean_file: str
    crop_size: _Int
    mirror: bool
    root_folder: str
    label_type: _Int | Literal['NONE', 'IMAGE', 'PIXEL']
    ignore_label: _Int
    new_length: _Int
    use_image: bool
    sampling_rate: _Int
    use_temporal_jitter: bool
    show_data: _Int
    mean_value: _Float | Sequence[_Float]
    force_color: bool
    force_gray: bool
    resize_param: _ResizeParameter | Sequence[_ResizeParameter]
    noise_param: _NoiseParameter
    emit_constraint: _EmitConstraint
    crop_h: _Int
    crop_w: _Int
    distort_param: _DistortionParameter
    expand_param: _ExpansionParameter
    zero_pad: _Int
    cutout: _Int
    brightness: _Float
    contrast: _Float
    saturation: _Float
    scale_factors: _Float | Sequence[_Float]
    crop_width: _Int
    crop_height: _Int
    image_data_param: _ImageDataParameter
    transform_param: _TransformationParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def MultiLabelImageData(*bottoms: Top, ntop: int = 1, **settings: Unpack[_MultiLabelImageData]) -> Any:
    """ImageData of a list whose lines have several labels: "FILE LABEL LABEL ...", as many in each.

    Tops: data (batch_size, C, h, w), blue first, and label (batch_size, labels).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        source: text file of lines: image label; or a folder with a folder for each class
        batch_size: images in one pass (default 1)
        rand_skip: skip up to so many lines at the start (default 0)
        shuffle: new order every epoch (default false)
        new_height: resize to; 0: as the file is (default 0)
        new_width: resize to; 0: as the file is (default 0)
        is_color: false: one channel of grey (default true)
        scale: older place of transform_param's (default 1)
        mean_file: older place of transform_param's
        crop_size: older place of transform_param's (default 0)
        mirror: older place of transform_param's (default false)
        root_folder: put before each image's name (default "")
        label_type: a line's second word: none, a label, a label map's file (default IMAGE)
        ignore_label: label where the image is padded, or where there is none (default 255)
        new_length
        use_image
        sampling_rate
        use_temporal_jitter
        show_data
        mean_value: instead of it: one for all channels, or one for each
        force_color: make images of one channel colour (default false)
        force_gray: make colour images grey (default false)
        resize_param: how images are resized; of several each batch follows one
        noise_param: changes of resized images
        emit_constraint: which boxes a window keeps
        crop_h: height of a cut, instead of crop_size, with crop_w (default 0)
        crop_w: width of a cut, with crop_h (default 0)
        distort_param: random changes of colour
        expand_param: larger canvases
        zero_pad: zeros on each side, after the mean; crop_size takes its window from what results (default 0)
        cutout: side of a square that becomes zero, after all else; 0: none (default 0)
        brightness: b multiplies values by a factor from [1 - b, 1 + b] (default 0)
        contrast: the same for differences from the image's mean grey (default 0)
        saturation: the same for differences from each pixel's grey (default 0)
        scale_factors: resize by one of these factors, chosen at random
        crop_width: instead of crop_size, with crop_height (default 0)
        crop_height: instead of crop_size, with crop_width (default 0)
        image_data_param: settings as a dict, or a ImageDataParameter
        transform_param: settings as a dict, or a TransformationParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _MultinomialLogisticLoss(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def MultinomialLogisticLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_MultinomialLogisticLoss]) -> Top:
    """-sum(log(p[label])) / N for probabilities p.

    SoftmaxWithLoss, which takes scores, is numerically better than Softmax followed by this loss. Bottoms:
    probabilities (N, ...) with a value for each class, labels (N).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _NoisyBN(TypedDict, total=False):
    name: str
    in_place: bool
    shift: _Float
    scale_min: _Float
    scale_max: _Float
    shift_spread: _Float
    scale_std: _Float
    noisy_bn_param: _NoisyBNParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def NoisyBN(*bottoms: Top, ntop: int = 1, **settings: Unpack[_NoisyBN]) -> Top:
    """Noise behind a batch normalisation whose distribution changes from step to step (Santurkar et al. 2018, 2.2).

    In TRAIN each channel draws a mean shift mu ~ U(-shift, shift) and a mean scale sigma ~ U(scale_min, scale_max) in
    each step, and each element its own m ~ U(mu - shift_spread, mu + shift_spread) and s ~ N(sigma, scale_std):
    y = s * x + m. TEST copies. The draws are no function of x: the gradient is s * dy. It stands behind a BN, or behind
    the Scale of a BatchNorm, in place or not. bottom: (N, C, ...) or (N,), which is one channel.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        shift: largest mean shift of a channel, up or down (default 0.5)
        scale_min: smallest mean scale of a channel (default 1)
        scale_max: largest mean scale of a channel (default 1.25)
        shift_spread: largest distance of an element's shift from its channel's (default 0.1)
        scale_std: standard deviation of an element's scale around its channel's (default 0.1)
        noisy_bn_param: settings as a dict, or a NoisyBNParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Normalize(TypedDict, total=False):
    name: str
    in_place: bool
    across_spatial: bool
    scale_filler: _FillerParameter
    channel_shared: bool
    eps: _Float
    norm_param: _NormalizeParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Normalize(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Normalize]) -> Top:
    """Items divided by their L2 norm, then scaled by a learned factor (SSD, ParseNet; Liu et al. 2015).

    The norm sqrt(sum x^2 + eps) is over the whole item with `across_spatial`, else over the channels of each position.
    Blob: scale (C), or () with `channel_shared`; 1 unless `scale_filler` says otherwise.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        across_spatial: the norm of the whole item; false: of each position (default true)
        scale_filler: start of the scale; unset: 1
        channel_shared: one scale; false: one for each channel (default true)
        eps: added to the sum of squares (default 1e-10)
        norm_param: settings as a dict, or a NormalizeParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _PReLU(TypedDict, total=False):
    name: str
    in_place: bool
    filler: _FillerParameter
    channel_shared: bool
    prelu_param: _PReLUParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def PReLU(*bottoms: Top, ntop: int = 1, **settings: Unpack[_PReLU]) -> Top:
    """y = max(x, 0) + a * min(x, 0) with a learned slope a, one per channel or a single one (He et al. 2015).

    Blob: slope (C), or () with `channel_shared`; 0.25 unless `filler` says otherwise.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        filler: of the slopes, 0.25 by default
        channel_shared: one slope for all channels (default false)
        prelu_param: settings as a dict, or a PReLUParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _PSROIAlign(TypedDict, total=False):
    name: str
    in_place: bool
    spatial_scale: _Float
    output_dim: _Int
    group_size: _Int
    psroi_align_param: _PSROIPoolingParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def PSROIAlign(*bottoms: Top, ntop: int = 1, **settings: Unpack[_PSROIAlign]) -> Top:
    """PSROIPooling without rounding: each bin is the mean of four bilinear points, at its quarters.

    Bottoms and top as PSROIPooling's. A region runs from x1 to x2, in pixels of the image times `spatial_scale`. A
    point outside of the features counts as 0, and so does a bin without extent.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        spatial_scale: from pixels of the image to those of the features
        output_dim: channels of the top
        group_size: bins along each side
        psroi_align_param: settings as a dict, or a PSROIPoolingParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _PSROIPooling(TypedDict, total=False):
    name: str
    in_place: bool
    spatial_scale: _Float
    output_dim: _Int
    group_size: _Int
    psroi_pooling_param: _PSROIPoolingParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def PSROIPooling(*bottoms: Top, ntop: int = 1, **settings: Unpack[_PSROIPooling]) -> Top:
    """Position-sensitive average pooling of regions of interest (R-FCN, Dai et al. 2016).

    Bottoms: features (N, output_dim * group_size^2, H, W) and regions (R, 5) as in ROIPooling. Top: (R, output_dim,
    group_size, group_size); bin (i, j) of output c averages channel (c * group_size + i) * group_size + j. The sum over
    a bin is computed from a summed-area table in float64.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        spatial_scale: from pixels of the image to those of the features
        output_dim: channels of the top
        group_size: bins along each side
        psroi_pooling_param: settings as a dict, or a PSROIPoolingParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Pad(TypedDict, total=False):
    name: str
    in_place: bool
    pad_l: _Int
    pad_r: _Int
    pad_t: _Int
    pad_b: _Int
    mode: _Int | Literal['CONSTANT', 'REFLECT', 'EDGE']
    value: _Float
    pad_param: _PadParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Pad(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Pad]) -> Top:
    """The last two axes enlarged by pad_t, pad_b, pad_l and pad_r.

    `mode` CONSTANT fills with `value`, EDGE repeats the border, REFLECT mirrors at the border without repeating it.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        pad_l (default 0)
        pad_r (default 0)
        pad_t (default 0)
        pad_b (default 0)
        mode (default CONSTANT)
        value (default 0)
        pad_param: settings as a dict, or a PadParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Parameter(TypedDict, total=False):
    name: str
    in_place: bool
    shape: _BlobShape
    parameter_param: _ParameterParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Parameter(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Parameter]) -> Top:
    """A learned blob as a top.

    As in Caffe the blob and the top share their arrays. So the gradient is what the readers of the top wrote last: it
    is not accumulated over the passes of iter_size.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        shape: of the learned blob
        parameter_param: settings as a dict, or a ParameterParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Permute(TypedDict, total=False):
    name: str
    in_place: bool
    order: _Int | Sequence[_Int]
    permute_param: _PermuteParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Permute(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Permute]) -> Top:
    """The axes in another `order`; axes that it does not name follow in their own order.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        order: axes of the bottom, in the order of the top; others follow
        permute_param: settings as a dict, or a PermuteParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Pooling(TypedDict, total=False):
    name: str
    in_place: bool
    pool: _Int | Literal['MAX', 'AVE', 'STOCHASTIC', 'AVE_EXC_PAD', 'AVE_TF']
    pad: _Int
    pad_h: _Int
    pad_w: _Int
    kernel_size: _Int
    kernel_h: _Int
    kernel_w: _Int
    stride: _Int
    stride_h: _Int
    stride_w: _Int
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    global_pooling: bool
    round_mode: _Int | Literal['CEIL', 'FLOOR']
    ceil_mode: bool
    pad_l: _Int
    pad_r: _Int
    pad_t: _Int
    pad_b: _Int
    avg_include_pad: bool
    kernel_shape: _BlobShape
    stride_shape: _BlobShape
    pad_shape: _BlobShape
    kernel_depth: _Int
    temporal_stride: _Int
    temporal_pad: _Int
    kernel_size_3d: _Int | Sequence[_Int]
    stride_3d: _Int | Sequence[_Int]
    pad_3d: _Int | Sequence[_Int]
    pooling_param: _PoolingParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Pooling(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Pooling]) -> Any:
    """The maximum, the average or a random element of each window.

    The output size is (size + 2 pad - kernel) / stride + 1, rounded up (or down, as `round_mode` or forks' `ceil_mode`
    say), less a last window that would start beyond the image; Caffe keeps that one where nothing is padded, and its
    average is NaN. An average divides by the part of the window that lies on the image and its padding; by the part on
    the image alone with `pool: AVE_EXC_PAD` (Synopsys Caffe, AVE_TF in its older files) and with `avg_include_pad:
    false` (Intel Caffe). pad_t, pad_b, pad_l and pad_r pad each side of an image by its own width, in place of pad, as
    in Synopsys Caffe.

    Windows whose axes differ have kernel_shape, stride_shape and pad_shape, one value for each spatial axis, in place
    of kernel_size, stride and pad. Reading a net moves C3D's (Pooling3D: kernel_depth, temporal_stride) and Intel
    Caffe's (kernel_size_3d, stride_3d, pad_3d) there.

    Ties of a maximum go to the first element, row by row. A second top of MAX holds the index of each maximum within
    the image of its channel. STOCHASTIC takes an element with a probability in proportion to its value, which must not
    be negative; in TEST it is the mean under those probabilities.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        pool: maximum, mean or a random element (default MAX)
        pad: on each side (default 0)
        pad_h: instead of pad (default 0)
        pad_w: instead of pad (default 0)
        kernel_size: of the window
        kernel_h: instead of kernel_size
        kernel_w: instead of kernel_size
        stride: step of the window (default 1)
        stride_h: instead of stride
        stride_w: instead of stride
        engine: read, without effect: --engine chooses (default DEFAULT)
        global_pooling: the window is the whole map (default false)
        round_mode: whether a last, partly covered window counts (default CEIL)
        ceil_mode: other spelling of round_mode (default true)
        pad_l: on the left (default 0)
        pad_r: on the right (default 0)
        pad_t: at the top (default 0)
        pad_b: at the bottom (default 0)
        avg_include_pad: whether a mean counts the padding as zeros (default true)
        kernel_shape: instead of kernel_size
        stride_shape: instead of stride
        pad_shape: instead of pad
        kernel_depth: C3D's: extent along the first of three axes
        temporal_stride: C3D's: stride along the first of three axes (default 1)
        temporal_pad: C3D's: padding of the first of three axes (default 0)
        kernel_size_3d: Intel Caffe's kernel_shape
        stride_3d: Intel Caffe's stride_shape
        pad_3d: Intel Caffe's pad_shape
        pooling_param: settings as a dict, or a PoolingParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Power(TypedDict, total=False):
    name: str
    in_place: bool
    power: _Float
    scale: _Float
    shift: _Float
    power_param: _PowerParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Power(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Power]) -> Top:
    """y = (shift + scale * x)^power.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        power: exponent (default 1)
        scale: of x (default 1)
        shift: of x (default 0)
        power_param: settings as a dict, or a PowerParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _PriorBox(TypedDict, total=False):
    name: str
    in_place: bool
    min_size: _Float | Sequence[_Float]
    max_size: _Float | Sequence[_Float]
    aspect_ratio: _Float | Sequence[_Float]
    flip: bool
    clip: bool
    variance: _Float | Sequence[_Float]
    img_size: _Int
    img_h: _Int
    img_w: _Int
    step: _Float
    step_h: _Float
    step_w: _Float
    offset: _Float
    prior_box_param: _PriorBoxParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def PriorBox(*bottoms: Top, ntop: int = 1, **settings: Unpack[_PriorBox]) -> Top:
    """The default boxes of every position of a feature map (SSD, Liu et al. 2016).

    Bottoms: the feature map and the image, of which only the sizes count. Top: (1, 2, H * W * boxes * 4), in the first
    row xmin, ymin, xmax, ymax as fractions of the image, in the second their variances. For each position and min_size:
    the square of that size, the square of sqrt(min_size * max_size), then one box for each aspect ratio.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        min_size: pixels of the image; each gives boxes
        max_size: one for each min_size: a further square of the geometric mean
        aspect_ratio: further boxes, width / height
        flip: boxes of 1 / aspect_ratio as well (default true)
        clip: limit boxes to the image (default false)
        variance: one or four; unset: 0.1
        img_size: size of the image; unset: that of bottom 1
        img_h: height of the image; with img_w
        img_w: width of the image; with img_h
        step: pixels between positions; unset: image / map
        step_h: along the height; with step_w
        step_w: along the width; with step_h
        offset: of the first centre, in positions (default 0.5)
        prior_box_param: settings as a dict, or a PriorBoxParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Proposal(TypedDict, total=False):
    name: str
    in_place: bool
    feat_stride: _Int
    base_size: _Int
    min_size: _Int
    ratio: _Float | Sequence[_Float]
    scale: _Float | Sequence[_Float]
    pre_nms_topn: _Int
    post_nms_topn: _Int
    nms_thresh: _Float
    proposal_param: _ProposalParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Proposal(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Proposal]) -> Any:
    """Regions of an image from the scores and offsets of anchors (Faster R-CNN, Ren et al. 2015).

    Bottoms: probabilities (1, 2 * A, H, W), of which the second half are those of an object; offsets (1, 4 * A, H, W);
    im_info (height, width, scale). Tops: regions (R, 5) with 0, x1, y1, x2, y2 in pixels, of falling score, and
    optionally the scores (R, 1). Anchors are moved by their offsets and clipped to the image; those with a side below
    min_size are dropped, and of those that overlap by more than nms_thresh all but the best. Where nothing is left, the
    whole image is the one region, with score 0. As a Python layer, rpn.proposal_layer.ProposalLayer of py-faster-rcnn.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        feat_stride: pixels of the image for one position of the feature map (default 16)
        base_size: side of the square that ratio and scale change (default 16)
        min_size: smallest side of a region, in pixels of the image before scaling (default 16)
        ratio: height / width of anchors; unset: 0.5, 1, 2
        scale: factors of their sides; unset: 8, 16, 32
        pre_nms_topn: regions of the highest scores that are considered; 0: all (default 6000)
        post_nms_topn: regions that are kept; 0: all (default 300)
        nms_thresh: overlap beyond which the region of the lower score is dropped (default 0.7)
        proposal_param: settings as a dict, or a ProposalParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _ProposalTarget(TypedDict, total=False):
    name: str
    in_place: bool
    num_classes: _Int
    batch_size: _Int
    fg_fraction: _Float
    fg_thresh: _Float
    bg_thresh_hi: _Float
    bg_thresh_lo: _Float
    class_agnostic: bool
    normalize_targets: bool
    bbox_mean: _Float | Sequence[_Float]
    bbox_std: _Float | Sequence[_Float]
    inside_weight: _Float | Sequence[_Float]
    proposal_target_param: _ProposalTargetParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def ProposalTarget(*bottoms: Top, ntop: int = 1, **settings: Unpack[_ProposalTarget]) -> Any:
    """A random sample of regions with their classes and regression targets (Faster R-CNN, Ren et al. 2015).

    Bottoms: regions (R, 5), all of image 0, and gt_boxes (G, 5) with x1, y1, x2, y2 in pixels and a class, which are
    added to the regions. Tops: regions (S, 5), those of objects first; labels (S), 0 for the background; targets,
    inside weights and outside weights (S, 4 * num_classes), of which the four columns of the label are filled.

    A region shows an object if its largest overlap with a true box reaches fg_thresh, background if it lies in
    [bg_thresh_lo, bg_thresh_hi). In an image without true boxes all regions are background. As a Python layer,
    rpn.proposal_target_layer.ProposalTargetLayer of py-faster-rcnn.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_classes: with the background, 0
        batch_size: regions of one image; -1: all (default 128)
        fg_fraction: most of them that show an object (default 0.25)
        fg_thresh: an object from this overlap with a true box (default 0.5)
        bg_thresh_hi: background below this overlap (default 0.5)
        bg_thresh_lo: and from this one (default 0.1)
        class_agnostic: one target for all objects, in the columns of class 1 (R-FCN) (default false)
        normalize_targets: subtract bbox_mean, divide by bbox_std (default false)
        bbox_mean: of x, y, width and height; unset: 0
        bbox_std: unset: 0.1, 0.1, 0.2, 0.2
        inside_weight: four, of x, y, width and height; unset: 1
        proposal_target_param: settings as a dict, or a ProposalTargetParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Python(TypedDict, total=False):
    name: str
    in_place: bool
    module: str
    layer: str
    param_str: str
    share_in_parallel: bool
    python_param: _PythonParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Python(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Python]) -> Top:
    """A layer that the user wrote, `python_param { module: "m" layer: "C" }`.

    The class derives from dragon.Layer and has setup, reshape, forward and backward; `self.param_str` is its setting.
    The module is looked for as usual, then in the working directory, then in the folder of the prototxt. It runs with
    the rights of the process, so a net has to be allowed to use one. The layers of py-faster-rcnn are Dragon's own
    where their modules are not found (`dragon.bases.rcnn_settings`). No object has this class: making one gives an
    instance of the user's class. Raises EngineError where user code is not allowed, PrototxtError for a module or
    class that cannot be used.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        module: file without .py, found as imports are
        layer: class in it
        param_str: text that the class can read (default "")
        share_in_parallel: read, without effect (default false)
        python_param: settings as a dict, or a PythonParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _RCNNDetectionOutput(TypedDict, total=False):
    name: str
    in_place: bool
    confidence_threshold: _Float
    nms_threshold: _Float
    keep_top_k: _Int
    bbox_mean: _Float | Sequence[_Float]
    bbox_std: _Float | Sequence[_Float]
    rcnn_detection_output_param: _RCNNDetectionOutputParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def RCNNDetectionOutput(*bottoms: Top, ntop: int = 1, **settings: Unpack[_RCNNDetectionOutput]) -> Top:
    """Boxes of an image from its regions, their classes and offsets, as py-faster-rcnn finds them (Ren et al. 2015).

    Bottoms: regions (R, 5), probabilities (R, C) with the background as class 0, offsets (R, 4 * C), or (R, 8) for all
    classes together as in R-FCN, im_info (height, width, scale). Top: (1, 1, K, 7) with item, label, score, xmin, ymin,
    xmax, ymax, by label and falling score; corners are fractions of the image. Without any box, one row: 0 and six
    times -1.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        confidence_threshold: scores are larger (default 0.05)
        nms_threshold: larger overlap with a box of a higher score and the same class (default 0.3)
        keep_top_k: boxes of the image; -1: all (default 100)
        bbox_mean: of offsets that were trained with normalize_targets; unset: 0
        bbox_std: unset: 1
        rcnn_detection_output_param: settings as a dict, or a RCNNDetectionOutputParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _RNN(TypedDict, total=False):
    name: str
    in_place: bool
    num_output: _Int
    weight_filler: _FillerParameter
    bias_filler: _FillerParameter
    debug_info: bool
    expose_hidden: bool
    recurrent_param: _RecurrentParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def RNN(*bottoms: Top, ntop: int = 1, **settings: Unpack[_RNN]) -> Any:
    """Recurrent layer h_t = tanh(W_hh cont h_{t-1} + W_xh x_t + b_h), y_t = tanh(W_ho h_t + b_o).

    Blobs: W_xh, b_h, [W_xh_static], W_hh, W_ho, b_o. State: h. Bottoms and tops: see `dragon.bases.recurrent`.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_output: size of the state (default 0)
        weight_filler: start of the weights, 0 by default
        bias_filler: start of the biases, 0 by default
        debug_info: log the size of the last states (default false)
        expose_hidden: the first and last states are bottoms and tops (default false)
        recurrent_param: settings as a dict, or a RecurrentParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _ROIAlign(TypedDict, total=False):
    name: str
    in_place: bool
    pooled_h: _Int
    pooled_w: _Int
    spatial_scale: _Float
    sampling_ratio: _Int
    roi_align_param: _ROIAlignParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def ROIAlign(*bottoms: Top, ntop: int = 1, **settings: Unpack[_ROIAlign]) -> Top:
    """Each region of interest averaged into a grid of pooled_h x pooled_w bins, without rounding (He et al. 2017).

    Bottoms: features (N, C, H, W) and regions (R, 5): item, x1, y1, x2, y2 in pixels of the image, which
    `spatial_scale` converts to those of the features; a region is at least one of these wide and high. Top: (R, C,
    pooled_h, pooled_w), the mean over sampling_ratio x sampling_ratio points in each bin, or ceil(extent of the bin)
    along each axis without it. A point takes the bilinear interpolation of the features: 0 where it is further than 1
    outside of them. A region with a corner that is NaN or infinite is pooled to 0.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        pooled_h: bins along the height (default 0)
        pooled_w: bins along the width (default 0)
        spatial_scale: from pixels of the image to those of the features (default 1)
        sampling_ratio: points along each side of a bin; as many as needed unless positive (default -1)
        roi_align_param: settings as a dict, or a ROIAlignParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _ROIPooling(TypedDict, total=False):
    name: str
    in_place: bool
    pooled_h: _Int
    pooled_w: _Int
    spatial_scale: _Float
    roi_pooling_param: _ROIPoolingParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def ROIPooling(*bottoms: Top, ntop: int = 1, **settings: Unpack[_ROIPooling]) -> Top:
    """Each region of interest max-pooled into a grid of pooled_h x pooled_w bins (Fast R-CNN, Girshick 2015).

    Bottoms: features (N, C, H, W) and regions (R, 5): item, x1, y1, x2, y2, inclusive, in pixels of the image, which
    `spatial_scale` converts to those of the features. Top: (R, C, pooled_h, pooled_w). Empty bins are 0.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        pooled_h: bins along the height (default 0)
        pooled_w: bins along the width (default 0)
        spatial_scale: from pixels of the image to those of the features (default 1)
        roi_pooling_param: settings as a dict, or a ROIPoolingParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _ReLU(TypedDict, total=False):
    name: str
    in_place: bool
    negative_slope: _Float
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    relu6: bool
    relu_param: _ReLUParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def ReLU(*bottoms: Top, ntop: int = 1, **settings: Unpack[_ReLU]) -> Top:
    """y = max(x, 0) + negative_slope * min(x, 0); with `relu6` at most 6.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        negative_slope: factor of values below 0 (default 0)
        engine: read, without effect: --engine chooses (default DEFAULT)
        relu6: also cut at 6 (default false)
        relu_param: settings as a dict, or a ReLUParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _ReLU6(TypedDict, total=False):
    name: str
    in_place: bool
    negative_slope: _Float
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    relu6: bool
    relu6_param: _ReLUParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def ReLU6(*bottoms: Top, ntop: int = 1, **settings: Unpack[_ReLU6]) -> Top:
    """ReLU with a maximum of 6; `relu6_param { negative_slope }` for the side below 0.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        negative_slope: factor of values below 0 (default 0)
        engine: read, without effect: --engine chooses (default DEFAULT)
        relu6: also cut at 6 (default false)
        relu6_param: settings as a dict, or a ReLUParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Reduction(TypedDict, total=False):
    name: str
    in_place: bool
    operation: _Int | Literal['SUM', 'ASUM', 'SUMSQ', 'MEAN']
    axis: _Int
    coeff: _Float
    reduction_param: _ReductionParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Reduction(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Reduction]) -> Top:
    """SUM, ASUM (of absolute values), SUMSQ (of squares) or MEAN over all axes from `axis` on, times `coeff`.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        operation: sum, of magnitudes, of squares, or mean (default SUM)
        axis: from this axis on everything is one number (default 0)
        coeff: factor of the result (default 1)
        reduction_param: settings as a dict, or a ReductionParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _RegionData(TypedDict, total=False):
    name: str
    in_place: bool
    source: str
    image_set: str
    label_map_file: str
    num_classes: _Int
    scale: _Int | Sequence[_Int]
    max_size: _Int
    use_flipped: bool
    shuffle: bool
    use_difficult: bool
    pixel_mean: _Float | Sequence[_Float]
    region_file: str
    batch_size: _Int
    fg_fraction: _Float
    fg_thresh: _Float
    bg_thresh_hi: _Float
    bg_thresh_lo: _Float
    class_agnostic: bool
    normalize_targets: bool
    bbox_mean: _Float | Sequence[_Float]
    bbox_std: _Float | Sequence[_Float]
    inside_weight: _Float | Sequence[_Float]
    roi_data_param: _RoIDataParameter
    proposal_target_param: _ProposalTargetParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def RegionData(*bottoms: Top, ntop: int = 1, **settings: Unpack[_RegionData]) -> Any:
    """Images with a sample of regions from a file, for Fast R-CNN (Girshick 2015), one image at a time.

    Tops: data (1, 3, h, w), as RoIData gives it; regions (S, 5): 0 and x1, y1, x2, y2 in pixels of data, those of
    objects first; labels (S), 0 for the background; targets, inside weights and outside weights (S, 4 * num_classes);
    or only the first three. The images are those of `roi_data_param`; its `region_file` holds their regions, to which
    the true boxes are added. `proposal_target_param` says how they are sampled, by overlaps in the image before it is
    scaled. As a Python layer, roi_data_layer.layer.RoIDataLayer of py-faster-rcnn whose tops are those of Fast R-CNN.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        source: a folder of VOC, or an LMDB of AnnotatedDatum records
        image_set: of a VOC folder: the list in ImageSets/Main (default "trainval")
        label_map_file: of a VOC folder: labels of names; unset: VOC's 20 classes, from 1
        num_classes: with the background, to check; 0: any (default 0)
        scale: length of the short side, one of these at random; unset: 600
        max_size: limit of the long side (default 1000)
        use_flipped: TRAIN: all images also flipped, left to right (default true)
        shuffle: TRAIN: a new order in each epoch (default true)
        use_difficult: keep difficult boxes (default false)
        pixel_mean: blue, green, red; unset: 102.9801, 115.9465, 122.7717
        region_file: of RegionData: HDF5, for each image a dataset of its name, rows x1, y1, x2, y2 in its pixels
        batch_size: regions of one image; -1: all (default 128)
        fg_fraction: most of them that show an object (default 0.25)
        fg_thresh: an object from this overlap with a true box (default 0.5)
        bg_thresh_hi: background below this overlap (default 0.5)
        bg_thresh_lo: and from this one (default 0.1)
        class_agnostic: one target for all objects, in the columns of class 1 (R-FCN) (default false)
        normalize_targets: subtract bbox_mean, divide by bbox_std (default false)
        bbox_mean: of x, y, width and height; unset: 0
        bbox_std: unset: 0.1, 0.1, 0.2, 0.2
        inside_weight: four, of x, y, width and height; unset: 1
        roi_data_param: settings as a dict, or a RoIDataParameter
        proposal_target_param: settings as a dict, or a ProposalTargetParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _RegionLoss(TypedDict, total=False):
    name: str
    in_place: bool
    side: _Int
    num_class: _Int
    bias_match: _Int
    coords: _Int
    num: _Int
    softmax: _Int
    jitter: _Float
    rescore: _Int
    object_scale: _Float
    class_scale: _Float
    noobject_scale: _Float
    coord_scale: _Float
    absolute: _Int
    thresh: _Float
    random: _Int
    biases: _Float | Sequence[_Float]
    softmax_tree: str
    class_map: str
    region_loss_param: _RegionLossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def RegionLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_RegionLoss]) -> Top:
    """The loss of YOLO v2 (Redmon & Farhadi 2017), as MobileNet-YOLO trains with it.

    Bottoms: a map (N, num * (5 + num_class), H, W), whose anchors are `biases`, in positions of the map; true boxes as
    (N, 1, T, 5) or (1, 1, M, 8). Top: the sum of the terms, divided by N.

    A true box belongs to the anchor of its position whose shape (with bias_match; else that of its box) is the most
    similar; the last of several counts. Terms of its anchor are halves of squared errors for x, y, w, h and for the
    object, whose target is the overlap of the box with `rescore`, 1 without; and the softmax loss of the classes. Other
    anchors have a term for no object, unless their box overlaps a true one by more than thresh, and for the first 12800
    images one that draws them to the middle of their position. MobileNet-YOLO has the same gradients, but prints the
    sum of their squares as the loss.

    With `softmax: 0` the classes have a cross-entropy of a sigmoid each, as in Darknet. `softmax_tree` names a file of
    Darknet with lines "name parent": siblings have a softmax, and a true class counts with those above it.
    `class_map` names a file whose lines are the classes of the labels 0, 1, ... (of SSD's boxes 1, 2, ...).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        side: read, without effect: as the bottom has (default 13)
        num_class: classes of objects (default 20)
        bias_match: true boxes are compared with biases, not with found boxes (default 1)
        coords: 4 is what is offered (default 4)
        num: anchors of each position (default 5)
        softmax: 1: one softmax of the classes; 0: a sigmoid for each (default 1)
        jitter: read, without effect: of Darknet's data (default 0.2)
        rescore: the target of an object is the overlap of its box, not 1 (default 1)
        object_scale: weight of the scores of anchors with an object (default 1)
        class_scale: weight of the classes (default 1)
        noobject_scale: weight of the scores of other anchors (default 0.5)
        coord_scale: weight of the boxes (default 5)
        absolute: read, without effect (default 1)
        thresh: boxes with a larger overlap have no term for no object (default 0.2)
        random: read, without effect: of Darknet's data (default 1)
        biases: width and height of each anchor, in positions of the map
        softmax_tree: file with lines "name parent": a softmax for each group of siblings
        class_map: file with the class of each label in a line
        region_loss_param: settings as a dict, or a RegionLossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Reorg(TypedDict, total=False):
    name: str
    in_place: bool
    stride: _Int
    reverse: bool
    reorg_param: _ReorgParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Reorg(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Reorg]) -> Top:
    """Moves blocks of `stride` x `stride` positions between space and channels, as YOLOv2's passthrough does (2017).

    With s = stride, (N, C, H, W) becomes (N, C s^2, H / s, W / s); with `reverse` (N, C / s^2, H s, W s). The order is
    Darknet's. `reverse`: y[c, h s + i, w s + j] = x[(i s + j) C / s^2 + c, h, w]. Without it, the elements of x, taken
    as (C / s^2, H s, W s), go to y, taken as (C, H, W), by the same formula with x and y exchanged; this is not the
    inverse of `reverse`, and channels of the top mix rows of the bottom.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        stride: extent of a block along height and width
        reverse: from channels to space (default false)
        reorg_param: settings as a dict, or a ReorgParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Reshape(TypedDict, total=False):
    name: str
    in_place: bool
    shape: _BlobShape
    axis: _Int
    num_axes: _Int
    reshape_param: _ReshapeParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Reshape(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Reshape]) -> Top:
    """Another shape for the same memory.

    `shape` replaces `num_axes` axes (-1: all) from `axis` on. A dim of 0 copies that of the bottom, one of -1 is
    inferred from the count. A negative `axis` counts from the end: -1 is after the last axis.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        shape: 0 keeps the bottom's extent, a single -1 is worked out
        axis: first axis that is replaced (default 0)
        num_axes: how many are; -1: all from axis on (default -1)
        reshape_param: settings as a dict, or a ReshapeParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Reverse(TypedDict, total=False):
    name: str
    in_place: bool
    axis: _Int | Sequence[_Int]
    reverse_param: _ReverseParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Reverse(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Reverse]) -> Top:
    """The bottom flipped along each named `axis` (axis 0 when none is named).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        axis
        reverse_param: settings as a dict, or a ReverseParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _RoIData(TypedDict, total=False):
    name: str
    in_place: bool
    source: str
    image_set: str
    label_map_file: str
    num_classes: _Int
    scale: _Int | Sequence[_Int]
    max_size: _Int
    use_flipped: bool
    shuffle: bool
    use_difficult: bool
    pixel_mean: _Float | Sequence[_Float]
    region_file: str
    roi_data_param: _RoIDataParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def RoIData(*bottoms: Top, ntop: int = 1, **settings: Unpack[_RoIData]) -> Any:
    """Images with true boxes for Faster R-CNN, one at a time (Ren et al. 2015).

    Tops: data (1, 3, h, w), blue first, without the mean; im_info (1, 3): h, w, and the factor of the scaling; gt_boxes
    (G, 5): x1, y1, x2, y2 in pixels of data, and the class; optionally the labels (1, 1, B, 8) that AnnotatedData gives
    for one image, difficult boxes too, for DetectionEvaluate. `source` is a VOC folder, or an LMDB of AnnotatedDatum
    records. The short side is scaled to `scale`, unless the long one then exceeds max_size. Images without boxes are
    left out in TRAIN. As a Python layer, roi_data_layer.layer.RoIDataLayer of py-faster-rcnn.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        source: a folder of VOC, or an LMDB of AnnotatedDatum records
        image_set: of a VOC folder: the list in ImageSets/Main (default "trainval")
        label_map_file: of a VOC folder: labels of names; unset: VOC's 20 classes, from 1
        num_classes: with the background, to check; 0: any (default 0)
        scale: length of the short side, one of these at random; unset: 600
        max_size: limit of the long side (default 1000)
        use_flipped: TRAIN: all images also flipped, left to right (default true)
        shuffle: TRAIN: a new order in each epoch (default true)
        use_difficult: keep difficult boxes (default false)
        pixel_mean: blue, green, red; unset: 102.9801, 115.9465, 122.7717
        region_file: of RegionData: HDF5, for each image a dataset of its name, rows x1, y1, x2, y2 in its pixels
        roi_data_param: settings as a dict, or a RoIDataParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _SPP(TypedDict, total=False):
    name: str
    in_place: bool
    pyramid_height: _Int
    pool: _Int | Literal['MAX', 'AVE', 'STOCHASTIC']
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    spp_param: _SPPParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def SPP(*bottoms: Top, ntop: int = 1, **settings: Unpack[_SPP]) -> Top:
    """Spatial pyramid pooling (He et al. 2014): level l pools into 2^l x 2^l bins.

    Bottom: (N, C, H, W). Top: (N, C * sum of 4^l). Each level is a Pooling layer whose windows do not overlap.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        pyramid_height: levels: 1, 2, 4, .. windows a side
        pool: maximum, mean or a random element (default MAX)
        engine: read, without effect: --engine chooses (default DEFAULT)
        spp_param: settings as a dict, or a SPPParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Scale(TypedDict, total=False):
    name: str
    in_place: bool
    axis: _Int
    num_axes: _Int
    filler: _FillerParameter
    bias_term: bool
    bias_filler: _FillerParameter
    scale_param: _ScaleParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Scale(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Scale]) -> Top:
    """y = x * scale + bias; scale and bias have the axes of x from `axis` on and are broadcast over the others.

    The scale is bottom 1 or, with one bottom, a learned blob of `num_axes` axes. Blobs: scale (with one bottom), then
    bias (with `bias_term`), which has the shape of the scale.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        axis: the factors lie on the axes from this one on (default 1)
        num_axes: how many axes they have; -1: all from axis on (default 1)
        filler: of the factors, 1 by default
        bias_term: add a bias as well (default false)
        bias_filler: of the bias, 0 by default
        scale_param: settings as a dict, or a ScaleParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _SeLU(TypedDict, total=False):
    name: str
    in_place: bool
    alpha: _Float
    selu_param: _SeLUParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def SeLU(*bottoms: Top, ntop: int = 1, **settings: Unpack[_SeLU]) -> Top:
    """y = lambda * (x for x > 0, else alpha * (exp(x) - 1)) (Klambauer et al. 2017).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        lambda: factor of the whole (default 1.050701)
        alpha: factor of exp(x) - 1 below 0 (default 1.673263)
        selu_param: settings as a dict, or a SeLUParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _ShuffleChannel(TypedDict, total=False):
    name: str
    in_place: bool
    group: _Int
    shuffle_channel_param: _ShuffleChannelParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def ShuffleChannel(*bottoms: Top, ntop: int = 1, **settings: Unpack[_ShuffleChannel]) -> Top:
    """Transposes the channels between `group` groups (ShuffleNet, Zhang et al. 2018).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        group (default 1)
        shuffle_channel_param: settings as a dict, or a ShuffleChannelParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Sigmoid(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Sigmoid(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Sigmoid]) -> Top:
    """y = 1 / (1 + exp(-x)).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _SigmoidCrossEntropyLoss(TypedDict, total=False):
    name: str
    in_place: bool
    ignore_label: _Int
    normalization: _Int | Literal['FULL', 'VALID', 'BATCH_SIZE', 'NONE', 'PRE_FIXED']
    normalize: bool
    weight_by_label_freqs: bool
    class_weighting: _Float | Sequence[_Float]
    pre_fixed_normalizer: _Float
    loss_param: _LossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def SigmoidCrossEntropyLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_SigmoidCrossEntropyLoss]) -> Top:
    """-sum(t log(s) + (1 - t) log(1 - s)) with s = sigmoid(x), for targets t in [0, 1].

    Divided by the batch size unless `loss_param` says otherwise; targets equal to `ignore_label` do not count.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        ignore_label: for losses with a label for each score: those with this label do not count
        normalization: what the sum is divided by (default VALID)
        normalize: older form of normalization
        weight_by_label_freqs: for SoftmaxWithLoss, with class_weighting (default false)
        class_weighting: for SoftmaxWithLoss, one per class
        pre_fixed_normalizer: what PRE_FIXED divides by (default 1)
        loss_param: settings as a dict, or a LossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Silence(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Silence(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Silence]) -> Any:
    """Consumes blobs that no other layer reads, so that they are no outputs of the net; makes no top.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Slice(TypedDict, total=False):
    name: str
    in_place: bool
    axis: _Int
    slice_point: _Int | Sequence[_Int]
    slice_dim: _Int
    slice_param: _SliceParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Slice(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Slice]) -> Any:
    """The bottom split along `axis` (`slice_dim` in older files) at `slice_point`s, or into equal parts.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        axis: of cutting; -1 is the last (default 1)
        slice_point: where to cut; unset: into equal parts
        slice_dim: older form of axis (default 1)
        slice_param: settings as a dict, or a SliceParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _SmoothL1Loss(TypedDict, total=False):
    name: str
    in_place: bool
    sigma: _Float
    smooth_l1_loss_param: _SmoothL1LossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def SmoothL1Loss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_SmoothL1Loss]) -> Top:
    """Quadratic for small differences, linear for large ones (Girshick 2015), summed and divided by the batch size.

    With d = w_in (a - b): 0.5 (sigma d)^2 where |d| < 1 / sigma^2, else |d| - 0.5 / sigma^2; times w_out. Bottoms: a, b
    and optionally w_in and w_out, all with as many values.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        sigma: the loss is quadratic below 1 / sigma^2 (default 1)
        smooth_l1_loss_param: settings as a dict, or a SmoothL1LossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _SmoothL1LossOHEM(TypedDict, total=False):
    name: str
    in_place: bool
    ignore_label: _Int
    normalization: _Int | Literal['FULL', 'VALID', 'BATCH_SIZE', 'NONE', 'PRE_FIXED']
    normalize: bool
    weight_by_label_freqs: bool
    class_weighting: _Float | Sequence[_Float]
    pre_fixed_normalizer: _Float
    loss_param: _LossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def SmoothL1LossOHEM(*bottoms: Top, ntop: int = 1, **settings: Unpack[_SmoothL1LossOHEM]) -> Any:
    """SmoothL1Loss with sigma 1, divided as `loss_param` says, with the loss of each region (R-FCN, Dai et al. 2016).

    Bottoms: a, b (N, C, ...) and optionally weights w: losses of d = w (a - b). Tops: the loss, and optionally the sum
    over the channels (N, 1, ...), which has no gradient. VALID and FULL divide by the number of those sums.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        ignore_label: for losses with a label for each score: those with this label do not count
        normalization: what the sum is divided by (default VALID)
        normalize: older form of normalization
        weight_by_label_freqs: for SoftmaxWithLoss, with class_weighting (default false)
        class_weighting: for SoftmaxWithLoss, one per class
        pre_fixed_normalizer: what PRE_FIXED divides by (default 1)
        loss_param: settings as a dict, or a LossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Softmax(TypedDict, total=False):
    name: str
    in_place: bool
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    axis: _Int
    softmax_param: _SoftmaxParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Softmax(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Softmax]) -> Top:
    """y = exp(x) / sum(exp(x)) along `axis`.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        engine: read, without effect: --engine chooses (default DEFAULT)
        axis: of the classes (default 1)
        softmax_param: settings as a dict, or a SoftmaxParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _SoftmaxWithLoss(TypedDict, total=False):
    name: str
    in_place: bool
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    axis: _Int
    ignore_label: _Int
    normalization: _Int | Literal['FULL', 'VALID', 'BATCH_SIZE', 'NONE', 'PRE_FIXED']
    normalize: bool
    weight_by_label_freqs: bool
    class_weighting: _Float | Sequence[_Float]
    pre_fixed_normalizer: _Float
    softmax_param: _SoftmaxParameter
    loss_param: _LossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def SoftmaxWithLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_SoftmaxWithLoss]) -> Any:
    """Mean of -log(softmax(x)[label]) along `softmax_param.axis`; the second top holds the softmax.

    Loss: sum over labels that are not ignored, divided as `loss_param` says. Gradient: softmax(x) - onehot(label). With
    `weight_by_label_freqs` (SegNet) each term is multiplied by the `class_weighting` of its label.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        engine: read, without effect: --engine chooses (default DEFAULT)
        axis: of the classes (default 1)
        ignore_label: for losses with a label for each score: those with this label do not count
        normalization: what the sum is divided by (default VALID)
        normalize: older form of normalization
        weight_by_label_freqs: for SoftmaxWithLoss, with class_weighting (default false)
        class_weighting: for SoftmaxWithLoss, one per class
        pre_fixed_normalizer: what PRE_FIXED divides by (default 1)
        softmax_param: settings as a dict, or a SoftmaxParameter
        loss_param: settings as a dict, or a LossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _SoftmaxWithLossOHEM(TypedDict, total=False):
    name: str
    in_place: bool
    engine: _Int | Literal['DEFAULT', 'CAFFE', 'CUDNN']
    axis: _Int
    ignore_label: _Int
    normalization: _Int | Literal['FULL', 'VALID', 'BATCH_SIZE', 'NONE', 'PRE_FIXED']
    normalize: bool
    weight_by_label_freqs: bool
    class_weighting: _Float | Sequence[_Float]
    pre_fixed_normalizer: _Float
    softmax_param: _SoftmaxParameter
    loss_param: _LossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def SoftmaxWithLossOHEM(*bottoms: Top, ntop: int = 1, **settings: Unpack[_SoftmaxWithLossOHEM]) -> Any:
    """SoftmaxWithLoss whose third top holds the loss of each label, without a gradient (R-FCN, Dai et al. 2016).

    Bottoms: scores (N, C, ...) and labels. Tops: the loss, and optionally the softmax and the losses (N, 1, ...), 0 for
    ignored labels.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        engine: read, without effect: --engine chooses (default DEFAULT)
        axis: of the classes (default 1)
        ignore_label: for losses with a label for each score: those with this label do not count
        normalization: what the sum is divided by (default VALID)
        normalize: older form of normalization
        weight_by_label_freqs: for SoftmaxWithLoss, with class_weighting (default false)
        class_weighting: for SoftmaxWithLoss, one per class
        pre_fixed_normalizer: what PRE_FIXED divides by (default 1)
        softmax_param: settings as a dict, or a SoftmaxParameter
        loss_param: settings as a dict, or a LossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _SpatialDropout(TypedDict, total=False):
    name: str
    in_place: bool
    dropout_ratio: _Float
    spatial_dropout_param: _SpatialDropoutParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def SpatialDropout(*bottoms: Top, ntop: int = 1, **settings: Unpack[_SpatialDropout]) -> Top:
    """In TRAIN whole channels of an item are dropped with probability `dropout_ratio` (Tompson et al. 2015).

    The others are scaled by 1 / (1 - ratio). A channel is kept where its random 32-bit word is at least ratio * 2^32;
    TEST copies. In place or not.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        dropout_ratio: probability that a channel is dropped (default 0.5)
        spatial_dropout_param: settings as a dict, or a SpatialDropoutParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Split(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Split(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Split]) -> Any:
    """The bottom under several names, for a blob with several readers; the gradient is the sum. Nets insert these.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Squeeze(TypedDict, total=False):
    name: str
    in_place: bool
    axis: _Int | Sequence[_Int]
    squeeze_param: _SqueezeParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Squeeze(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Squeeze]) -> Top:
    """The bottom without the axes of extent 1 that `axis` names, or without all of them; the memory is shared.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        axis
        squeeze_param: settings as a dict, or a SqueezeParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Sum(TypedDict, total=False):
    name: str
    in_place: bool
    axis: _Int | Sequence[_Int]
    keepdims: bool
    sum_param: _SumParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Sum(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Sum]) -> Top:
    """The sum of several bottoms of one shape, as Eltwise has it, or of one bottom over some of its axes.

    `sum_param { axis }` names these axes, all of them when none is named; with `keepdims` they stay, with extents of 1
    (Synopsys Caffe).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        axis: all of them when none is named
        keepdims: whether the axes stay, with extents of 1 (default false)
        sum_param: settings as a dict, or a SumParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Swish(TypedDict, total=False):
    name: str
    in_place: bool
    beta: _Float
    swish_param: _SwishParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Swish(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Swish]) -> Top:
    """y = x * sigmoid(beta * x) (Ramachandran et al. 2017).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        beta: of x * sigmoid(beta * x) (default 1)
        swish_param: settings as a dict, or a SwishParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _TanH(TypedDict, total=False):
    name: str
    in_place: bool
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def TanH(*bottoms: Top, ntop: int = 1, **settings: Unpack[_TanH]) -> Top:
    """y = tanh(x).

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Threshold(TypedDict, total=False):
    name: str
    in_place: bool
    threshold: _Float
    threshold_param: _ThresholdParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Threshold(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Threshold]) -> Top:
    """y = 1 where x > threshold, else 0.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        threshold: 1 above it, else 0 (default 0)
        threshold_param: settings as a dict, or a ThresholdParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Tile(TypedDict, total=False):
    name: str
    in_place: bool
    axis: _Int
    tiles: _Int
    tile_param: _TileParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Tile(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Tile]) -> Top:
    """The bottom repeated `tiles` times along `axis`.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        axis: of repetition (default 1)
        tiles: how often
        tile_param: settings as a dict, or a TileParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Transpose(TypedDict, total=False):
    name: str
    in_place: bool
    dim: _Int | Sequence[_Int]
    transpose_param: _TransposeParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Transpose(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Transpose]) -> Top:
    """The axes in the order of `dim`, which names each axis of the bottom once, as nets that read text have it.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        dim: for each axis of the top, the axis of the bottom
        transpose_param: settings as a dict, or a TransposeParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _TripletLoss(TypedDict, total=False):
    name: str
    in_place: bool
    margin: _Float
    triplet_loss_param: _TripletLossParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def TripletLoss(*bottoms: Top, ntop: int = 1, **settings: Unpack[_TripletLoss]) -> Top:
    """sum max(margin + |a - p|^2 - |a - n|^2, 0) / (2 N) (FaceNet, Schroff et al. 2015, as in caffe-windows).

    Bottoms: anchors a, positives p and negatives n, of one shape (N, ...). All can have a gradient.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        margin (default 1)
        triplet_loss_param: settings as a dict, or a TripletLossParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Upsample(TypedDict, total=False):
    name: str
    in_place: bool
    scale: _Int
    scale_h: _Int
    scale_w: _Int
    pad_out_h: bool
    pad_out_w: bool
    upsample_h: _Int
    upsample_w: _Int
    upsample_param: _UpsampleParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Upsample(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Upsample]) -> Top:
    """Each value repeated `scale` times down and across, or placed where a max pooling found it.

    One bottom: nearest-neighbour, with a `scale` of 1 unless set. Two bottoms (SegNet): the second is the mask of the
    pooling to undo, which holds the index of each maximum within its channel; `scale` is 2 unless set, pad_out_h and
    pad_out_w remove one row or column, upsample_h and upsample_w set the size itself. scale_h and scale_w replace
    `scale`.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        scale: forks differ in what unset means: see the layer
        scale_h: instead of scale, along the height
        scale_w: instead of scale, along the width
        pad_out_h: two bottoms: one row less (default false)
        pad_out_w: two bottoms: one column less (default false)
        upsample_h: two bottoms: the height itself, with upsample_w
        upsample_w: two bottoms: the width itself, with upsample_h
        upsample_param: settings as a dict, or a UpsampleParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _VideoData(TypedDict, total=False):
    name: str
    in_place: bool
    source: str
    batch_size: _Int
    rand_skip: _Int
    shuffle: bool
    new_height: _Int
    new_width: _Int
    new_length: _Int
    num_segments: _Int
    modality: _Int | Literal['RGB', 'FLOW']
    name_pattern: str
    scale: _Float
    mean_file: str
    crop_size: _Int
    mirror: bool
    root_folder: str
    is_color: bool
    use_image: bool
    sampling_rate: _Int
    use_temporal_jitter: bool
    video_type: _Int | Literal['WEBCAM', 'VIDEO']
    video_file: str
    skip_frames: _Int
    device_id: _Int
    backend: _Int | Literal['LEVELDB', 'LMDB']
    force_encoded_color: bool
    prefetch: _Int
    random_order: bool
    mean_value: _Float | Sequence[_Float]
    force_color: bool
    force_gray: bool
    resize_param: _ResizeParameter | Sequence[_ResizeParameter]
    noise_param: _NoiseParameter
    emit_constraint: _EmitConstraint
    crop_h: _Int
    crop_w: _Int
    distort_param: _DistortionParameter
    expand_param: _ExpansionParameter
    zero_pad: _Int
    cutout: _Int
    brightness: _Float
    contrast: _Float
    saturation: _Float
    scale_factors: _Float | Sequence[_Float]
    crop_width: _Int
    crop_height: _Int
    video_data_param: _VideoDataParameter
    data_param: _DataParameter
    transform_param: _TransformationParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def VideoData(*bottoms: Top, ntop: int = 1, **settings: Unpack[_VideoData]) -> Any:
    """Clips of the videos that `source` lists: folders of numbered images, or video files (extra `video`).

    As in C3D and video-caffe: lines "VIDEO START LABEL", where START is the number of a clip's first frame (as in the
    names of images, from 0 in a video file). Tops: data (batch_size, C, new_length, h, w), blue first, and label
    (batch_size). With `use_temporal_jitter` a clip begins at a random frame in TRAIN, at the first in TEST; lines are
    then "VIDEO LABEL", or with `use_image` "VIDEO FRAMES LABEL".

    As in the temporal segment fork (yjxiong), with `num_segments`, `modality` or `name_pattern`: lines "VIDEO FRAMES
    LABEL"; new_length frames of each of num_segments equal parts, from a random frame in TRAIN, from the middle in
    TEST. Tops: data (batch_size, channels of all frames, h, w), label. `modality: FLOW` takes two grey images for each
    frame, x and y (name_pattern, "flow_%c_%04d.jpg" unless it is given).

    As in SSD, with `video_file`: the frames of one video, one by one, batch_size of data_param at a time; one top, data
    (batch_size, C, h, w). All frames of a clip are cropped and mirrored alike. Cameras are not read.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        source: text file of lines: folder or video, first frame or number of frames, label
        batch_size: clips in one pass
        rand_skip: skip up to so many lines at the start (default 0)
        shuffle: new order every epoch (default false)
        new_height: resize frames to; 0: as they are (default 0)
        new_width: resize frames to; 0: as they are (default 0)
        new_length: frames of a clip, or of each segment (default 1)
        num_segments: equal parts of a video, each with frames of its own (yjxiong) (default 1)
        modality: colours, or flow: two grey images for each frame (yjxiong) (default FLOW)
        name_pattern: names of frames, as image_%04d.jpg or flow_%c_%04d.jpg; unset: by their numbers
        scale: older place of transform_param's (default 1)
        mean_file: older place of transform_param's
        crop_size: older place of transform_param's (default 0)
        mirror: older place of transform_param's (default false)
        root_folder: put before each name (default "")
        is_color: false: one channel of grey (default true)
        use_image: the list names folders of frames (C3D); unset: what is there decides
        sampling_rate: distance of the frames of a clip (default 1)
        use_temporal_jitter: TRAIN: begin at a random frame (default false)
        video_type: SSD's: VIDEO reads video_file (default WEBCAM)
        video_file: SSD's: one video, frame by frame; batch_size is then data_param's
        skip_frames: frames left out before each one that is taken (SSD) (default 0)
        device_id: SSD's, of a camera (default 0)
        backend: kind of the database (default LEVELDB)
        force_encoded_color (default false)
        prefetch (default 4)
        random_order: Tongcheng's name of shuffle (default false)
        mean_value: instead of it: one for all channels, or one for each
        force_color: make images of one channel colour (default false)
        force_gray: make colour images grey (default false)
        resize_param: how images are resized; of several each batch follows one
        noise_param: changes of resized images
        emit_constraint: which boxes a window keeps
        crop_h: height of a cut, instead of crop_size, with crop_w (default 0)
        crop_w: width of a cut, with crop_h (default 0)
        distort_param: random changes of colour
        expand_param: larger canvases
        zero_pad: zeros on each side, after the mean; crop_size takes its window from what results (default 0)
        cutout: side of a square that becomes zero, after all else; 0: none (default 0)
        brightness: b multiplies values by a factor from [1 - b, 1 + b] (default 0)
        contrast: the same for differences from the image's mean grey (default 0)
        saturation: the same for differences from each pixel's grey (default 0)
        scale_factors: resize by one of these factors, chosen at random
        crop_width: instead of crop_size, with crop_height (default 0)
        crop_height: instead of crop_size, with crop_width (default 0)
        video_data_param: settings as a dict, or a VideoDataParameter
        data_param: settings as a dict, or a DataParameter
        transform_param: settings as a dict, or a TransformationParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _WindowData(TypedDict, total=False):
    name: str
    in_place: bool
    source: str
    scale: _Float
    mean_file: str
    batch_size: _Int
    crop_size: _Int
    mirror: bool
    fg_threshold: _Float
    bg_threshold: _Float
    fg_fraction: _Float
    context_pad: _Int
    crop_mode: str
    cache_images: bool
    root_folder: str
    mean_value: _Float | Sequence[_Float]
    force_color: bool
    force_gray: bool
    resize_param: _ResizeParameter | Sequence[_ResizeParameter]
    noise_param: _NoiseParameter
    emit_constraint: _EmitConstraint
    crop_h: _Int
    crop_w: _Int
    distort_param: _DistortionParameter
    expand_param: _ExpansionParameter
    zero_pad: _Int
    cutout: _Int
    brightness: _Float
    contrast: _Float
    saturation: _Float
    scale_factors: _Float | Sequence[_Float]
    crop_width: _Int
    crop_height: _Int
    window_data_param: _WindowDataParameter
    transform_param: _TransformationParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def WindowData(*bottoms: Top, ntop: int = 1, **settings: Unpack[_WindowData]) -> Any:
    """Windows of images, listed in `source` (see `dragon.data.windows`), warped to crop_size x crop_size.

    Tops: data (batch_size, C, crop_size, crop_size), blue first, and label (batch_size). `fg_fraction` of each batch
    are drawn from the windows with an overlap of at least `fg_threshold`, the others, with label 0, from the rest of
    those below `bg_threshold`.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        source: text file of images and their windows
        scale: older place of transform_param's (default 1)
        mean_file: older place of transform_param's
        batch_size: windows in one pass
        crop_size: side to which windows are warped (default 0)
        mirror: older place of transform_param's (default false)
        fg_threshold: overlap from which a window is an object (default 0.5)
        bg_threshold: overlap below which it is background (default 0.5)
        fg_fraction: share of objects in a batch (default 0.25)
        context_pad: pixels of surroundings in the warped window (default 0)
        crop_mode: warp, or square: keep the proportions (default "warp")
        cache_images (default false)
        root_folder: put before each image's name (default "")
        mean_value: instead of it: one for all channels, or one for each
        force_color: make images of one channel colour (default false)
        force_gray: make colour images grey (default false)
        resize_param: how images are resized; of several each batch follows one
        noise_param: changes of resized images
        emit_constraint: which boxes a window keeps
        crop_h: height of a cut, instead of crop_size, with crop_w (default 0)
        crop_w: width of a cut, with crop_h (default 0)
        distort_param: random changes of colour
        expand_param: larger canvases
        zero_pad: zeros on each side, after the mean; crop_size takes its window from what results (default 0)
        cutout: side of a square that becomes zero, after all else; 0: none (default 0)
        brightness: b multiplies values by a factor from [1 - b, 1 + b] (default 0)
        contrast: the same for differences from the image's mean grey (default 0)
        saturation: the same for differences from each pixel's grey (default 0)
        scale_factors: resize by one of these factors, chosen at random
        crop_width: instead of crop_size, with crop_height (default 0)
        crop_height: instead of crop_size, with crop_width (default 0)
        window_data_param: settings as a dict, or a WindowDataParameter
        transform_param: settings as a dict, or a TransformationParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _YoloDetectionOutput(TypedDict, total=False):
    name: str
    in_place: bool
    side: _Int
    num_classes: _Int
    num_box: _Int
    coords: _Int
    confidence_threshold: _Float
    nms_threshold: _Float
    biases: _Float | Sequence[_Float]
    label_map_file: str
    yolo_detection_output_param: _YoloDetectionOutputParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def YoloDetectionOutput(*bottoms: Top, ntop: int = 1, **settings: Unpack[_YoloDetectionOutput]) -> Top:
    """Boxes from the maps of YOLO v2 (Redmon & Farhadi 2017), as MobileNet-YOLO reads them.

    Bottoms: one or two maps (N, num_box * (5 + num_classes), H, W). Top: (1, 1, K, 7) with item, label (from 1), score,
    xmin, ymin, xmax, ymax. A box has the class of the highest softmax; its score is that times the one of an object.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        side: read, without effect: as the bottom has (default 13)
        num_classes: classes of objects (default 20)
        num_box: anchors of each position (default 5)
        coords: 4 is what is offered (default 4)
        confidence_threshold: least score (default 0.01)
        nms_threshold: overlap from which the box of the lower score is dropped (default 0.45)
        biases: width and height of each anchor, in positions of the map
        label_map_file: names of the classes; read, without effect
        yolo_detection_output_param: settings as a dict, or a YoloDetectionOutputParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Yolov3(TypedDict, total=False):
    name: str
    in_place: bool
    side: _Int
    num_class: _Int
    num: _Int
    object_scale: _Float
    class_scale: _Float
    noobject_scale: _Float
    coord_scale: _Float
    thresh: _Float
    anchors_scale: _Int
    biases: _Float | Sequence[_Float]
    mask: _Int | Sequence[_Int]
    use_logic_gradient: bool
    use_focal_loss: bool
    iou_loss: _Int | Literal['IOU', 'GIOU', 'MSE', 'DIOU', 'CIOU']
    iou_normalizer: _Float
    iou_thresh: _Float
    max_delta: _Float
    accumulate: bool
    label_smooth_eps: _Float
    yolov3_param: _Yolov3Parameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Yolov3(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Yolov3]) -> Top:
    """The loss of YOLO v3 (Redmon & Farhadi 2018), as MobileNet-YOLO trains with it.

    Bottoms: a map (N, num * (5 + num_class), H, W), whose anchors are those of `biases` (pixels of an image of
    anchors_scale * W by anchors_scale * H) that `mask` names; true boxes as (N, 1, T, 5) or (1, 1, M, 8). Top: the sum
    of the terms, divided by N.

    A true box belongs to the anchor of its position whose shape is the most similar, if that is one of the mask's, and
    to those with an overlap beyond iou_thresh. Terms of its anchors: the box, all classes, the object. Other anchors
    have a term for no object, unless the box overlaps a true one by more than thresh. Terms are cross-entropies; with
    use_logic_gradient halves of squared errors. The box: MSE, or an overlap (`iou_loss`), whose gradient is clipped to
    max_delta. MobileNet-YOLO has the same gradients, but prints the sum of their squares as the loss.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        side: read, without effect: as the bottom has (default 13)
        num_class: classes of objects (default 20)
        num: anchors of each position (default 5)
        object_scale: weight of the scores of anchors with an object (default 1)
        class_scale: weight of the classes (default 1)
        noobject_scale: weight of the scores of other anchors (default 0.5)
        coord_scale: weight of the boxes (default 5)
        thresh: boxes with a larger overlap have no term for no object (default 0.2)
        anchors_scale: pixels of the image for one position of the map (default 32)
        biases: width and height of all anchors, in pixels
        mask: those of this map; unset: the first
        use_logic_gradient: squared errors, not cross-entropies (default false)
        use_focal_loss: of the classes (default false)
        iou_loss: of the box; not of GaussianYolov3 (default MSE)
        iou_normalizer: weight of an overlap as the loss of a box, and of GaussianYolov3's boxes (default 0.25)
        iou_thresh: further anchors of a true box have a larger overlap with its shape (default 0.5)
        max_delta: largest gradient of a box by its overlap, and of GaussianYolov3's boxes (default 10)
        accumulate: boxes of one anchor add up; false: the last one counts (default true)
        label_smooth_eps: targets of classes are e / 2 and 1 - e / 2; not of GaussianYolov3 (default 0.1)
        yolov3_param: settings as a dict, or a Yolov3Parameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

class _Yolov3DetectionOutput(TypedDict, total=False):
    name: str
    in_place: bool
    num_classes: _Int
    num_box: _Int
    confidence_threshold: _Float
    nms_threshold: _Float
    biases: _Float | Sequence[_Float]
    anchors_scale: _Int | Sequence[_Int]
    mask_group_num: _Int
    mask: _Int | Sequence[_Int]
    gaussian_box: bool
    yolov3_detection_output_param: _Yolov3DetectionOutputParameter
    phase: _Int | Literal['TRAIN', 'TEST']
    loss_weight: _Float | Sequence[_Float]
    param: _ParamSpec | Sequence[_ParamSpec]
    propagate_down: bool | Sequence[bool]
    include: _NetStateRule | Sequence[_NetStateRule]
    exclude: _NetStateRule | Sequence[_NetStateRule]

def Yolov3DetectionOutput(*bottoms: Top, ntop: int = 1, **settings: Unpack[_Yolov3DetectionOutput]) -> Top:
    """Boxes from the maps of YOLO v3 (Redmon & Farhadi 2018), as MobileNet-YOLO reads them.

    Bottoms: mask_group_num maps (N, num_box * (5 + num_classes), H, W). Top: (1, 1, K, 7) with item, label (from 1),
    score, xmin, ymin, xmax, ymax: a row for each class whose score, times that of an object, exceeds
    confidence_threshold.

    With gaussian_box (Choi et al. 2019) a map has 9 + num_classes channels for each anchor, with a deviation behind
    each number of the box. The score of an object is then multiplied by 1 - the mean of the four deviations.

    Settings:
        name: the layer's name; without it, that of its first named top
        in_place: write the top over the bottom
        ntop: number of tops; 0 returns the layer, more than 1 a tuple
        num_classes: classes of objects (default 20)
        num_box: anchors of each position (default 3)
        confidence_threshold: scores are larger (default 0.01)
        nms_threshold: overlap from which the box of the lower score is dropped (default 0.45)
        biases: width and height of all anchors, in pixels
        anchors_scale: pixels of the image for one position, of each bottom
        mask_group_num: bottoms (default 2)
        mask: anchors of the bottoms, one after another
        gaussian_box: each number of a box has a deviation behind it (Gaussian YOLO) (default false)
        yolov3_detection_output_param: settings as a dict, or a Yolov3DetectionOutputParameter
        phase: instead of the net's
        loss_weight: one per top
        param: one per learned blob: rate, decay, name
        propagate_down: one per bottom: whether it gets a gradient
        include: only in runs that one of these admits
        exclude: not in runs that one of these admits
    """

CTCDecoder = CTCGreedyDecoder
ConvolutionDepthwise = DepthwiseConvolution
CtcDecoder = CTCGreedyDecoder
CtcGreedyDecoder = CTCGreedyDecoder
CtcLoss = CTCLoss
SeLu = SeLU
SoftmaxLoss = SoftmaxWithLoss
Softplus = BNLL
SyncBN = BN
WarpCTC = CTCLoss
WarpCTCLoss = CTCLoss
WarpCtc = CTCLoss
WarpCtcLoss = CTCLoss
