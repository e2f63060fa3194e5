"""The constants of settings. Written by dragon/pycaffe/stubs.py: `make proto` writes it anew."""

class BN:
    CAFFE: int
    CUDNN: int
    DEFAULT: int
    INFERENCE: int
    LEARN: int

class BatchNorm:
    CAFFE: int
    CUDNN: int
    DEFAULT: int

class Convolution:
    CAFFE: int
    CUDNN: int
    DEFAULT: int

class Data:
    LEVELDB: int
    LMDB: int

class Eltwise:
    MAX: int
    PROD: int
    SUM: int

class Filler:
    AVERAGE: int
    FAN_IN: int
    FAN_OUT: int

class FocalLoss:
    LINEAR: int
    ONEADDP: int
    ORIGIN: int

class HingeLoss:
    L1: int
    L2: int

class ImageData:
    IMAGE: int
    NONE: int
    PIXEL: int

class LRN:
    ACROSS_CHANNELS: int
    CAFFE: int
    CUDNN: int
    DEFAULT: int
    WITHIN_CHANNEL: int

class LargeMarginInnerProduct:
    DOUBLE: int
    QUADRUPLE: int
    SINGLE: int
    TRIPLE: int

class Loss:
    BATCH_SIZE: int
    FULL: int
    NONE: int
    PRE_FIXED: int
    VALID: int

class MarginInnerProduct:
    DOUBLE: int
    QUADRUPLE: int
    SINGLE: int
    TRIPLE: int

class MultiBoxLoss:
    BIPARTITE: int
    HARD_EXAMPLE: int
    L2: int
    LOGISTIC: int
    MAX_NEGATIVE: int
    NONE: int
    PER_PREDICTION: int
    SMOOTH_L1: int
    SOFTMAX: int

class Pad:
    CONSTANT: int
    EDGE: int
    REFLECT: int

class Pooling:
    AVE: int
    AVE_EXC_PAD: int
    AVE_TF: int
    CAFFE: int
    CEIL: int
    CUDNN: int
    DEFAULT: int
    FLOOR: int
    MAX: int
    STOCHASTIC: int

class PriorBox:
    CENTER_SIZE: int
    CORNER: int
    CORNER_SIZE: int

class ReLU:
    CAFFE: int
    CUDNN: int
    DEFAULT: int

class Reduction:
    ASUM: int
    MEAN: int
    SUM: int
    SUMSQ: int

class Resize:
    AREA: int
    CONSTANT: int
    CUBIC: int
    FIT_LARGE_SIZE_AND_PAD: int
    FIT_SMALL_SIZE: int
    LANCZOS4: int
    LINEAR: int
    MIRRORED: int
    NEAREST: int
    REPEAT_NEAREST: int
    WARP: int

class SPP:
    AVE: int
    CAFFE: int
    CUDNN: int
    DEFAULT: int
    MAX: int
    STOCHASTIC: int

class Sigmoid:
    CAFFE: int
    CUDNN: int
    DEFAULT: int

class Softmax:
    CAFFE: int
    CUDNN: int
    DEFAULT: int

class Solver:
    ADADELTA: int
    ADAGRAD: int
    ADAM: int
    BF16: int
    BINARYPROTO: int
    CPU: int
    FP16: int
    FP32: int
    GPU: int
    HDF5: int
    NESTEROV: int
    RMSPROP: int
    SGD: int

class TanH:
    CAFFE: int
    CUDNN: int
    DEFAULT: int

class V0Layer:
    AVE: int
    MAX: int
    STOCHASTIC: int

class V1Layer:
    ABSVAL: int
    ACCURACY: int
    ARGMAX: int
    BNLL: int
    CONCAT: int
    CONTRASTIVE_LOSS: int
    CONVOLUTION: int
    CONVOLUTION3D: int
    DATA: int
    DECONVOLUTION: int
    DECONVOLUTION3D: int
    DROPOUT: int
    DUMMY_DATA: int
    ELTWISE: int
    EUCLIDEAN_LOSS: int
    EXP: int
    FLATTEN: int
    HDF5_DATA: int
    HDF5_OUTPUT: int
    HINGE_LOSS: int
    IM2COL: int
    IMAGE_DATA: int
    INFOGAIN_LOSS: int
    INNER_PRODUCT: int
    LRN: int
    MEMORY_DATA: int
    MULTINOMIAL_LOGISTIC_LOSS: int
    MVN: int
    NONE: int
    PERMISSIVE: int
    POOLING: int
    POOLING3D: int
    POWER: int
    RELU: int
    SIGMOID: int
    SIGMOID_CROSS_ENTROPY_LOSS: int
    SILENCE: int
    SLICE: int
    SOFTMAX: int
    SOFTMAX_LOSS: int
    SPLIT: int
    STRICT: int
    TANH: int
    THRESHOLD: int
    VIDEO_DATA: int
    WINDOW_DATA: int

class VideoData:
    FLOW: int
    RGB: int
    VIDEO: int
    WEBCAM: int

class Yolov3:
    CIOU: int
    DIOU: int
    GIOU: int
    IOU: int
    MSE: int

