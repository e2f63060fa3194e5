// The gradient in front of a ReLU that was fused into a kernel's forward. y: the ReLU's output, or null where there is none.
static __device__ __forceinline__ real through_relu(real dy, const stored* y, size_t i, real slope) {
    return y && !(y[i] > 0) ? dy * slope : dy;
}
