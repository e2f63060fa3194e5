// One launch updates all learned blobs. `entries` has an entry for each blob; a chunk gives a block its blob and its first
// element. What changes from step to step (the rate) lies in device memory, so that a captured graph stays right.
#include "common.cuh"

typedef unsigned long long word;

struct Entry {  // eleven 8-byte words, as updating.py packs them
    real* w;
    real* g;
    real* h1;
    real* h2;
    unsigned long long count;
    double lr_mult, decay;
    stored* working;           // the weights in the type of the activations, or null
    stored* last;              // the same with their channels last: (K, spatial, channels) of (K, channels, spatial); or null
    unsigned long long chunk;  // elements that a block works on, at most CHUNK; of a blob with `last` whole maps
    unsigned int channels, spatial;
};

struct Chunk {
    unsigned int entry, start;
};

#define CHUNK 4096  // most elements a block works on

static __device__ __forceinline__ Index end_of(Chunk chunk, const Entry& e) {
    return e.count - chunk.start < e.chunk ? (Index)e.count : chunk.start + (Index)e.chunk;
}

// Writes the new weights of elements start..stop into `last`, so that threads side by side write side by side.
static __device__ __forceinline__ void write_last(const Entry& e, const real* weights, Index start, Index stop) {
    Index maps = (stop - start) / e.spatial, first = start / e.spatial;
    Index side = maps < THREADS ? maps : THREADS, sides = THREADS / side, own = threadIdx.x / side;
    if (own >= sides) return;
    for (Index map = threadIdx.x - own * side; map < maps; map += side) {
        Index k = (first + map) / e.channels, c = first + map - k * e.channels;
        stored* last = e.last + (size_t)k * e.spatial * e.channels + c;
        for (Index s = own; s < e.spatial; s += sides) last[(size_t)s * e.channels] = weights[map * e.spatial + s];
    }
}

// step[0]: rate; step[1]: rate times Adam's bias correction; step[2]: factor of clip_gradients, written by clip_factor;
// step[3]: 1 where the weights are updated, 0 where the step is skipped; step[4]: number of the step.
#define L1 1  // regularization

// Indices and limits of the loss scale, as in loss_scale.py.
#define SCALE 0
#define INVERSE 1
#define NEXT 2
#define GOOD 3
#define SKIPPED 4
#define INTERVAL 2000
#define LEAST_SCALE 1.0f
#define MOST_SCALE 16777216.0f
#define SCALE_VALUES 5

// Adds one loss of a net to `total`, the weighted sum (`first`: of the first loss; `last`: of the last one), in one block.
// The last launch sets step[3] to 0 where the sum is NaN or infinite, or a label was out of range, and writes to the host:
// report[1] = the sum, report[2] = 1 where a label was out of range, from report[3] on the loss scale if there is one,
// then report[0] = number of the step. `report` is the address of pinned memory, which the host polls: once the number is
// new, all values before it have arrived.
KERNEL check_loss(const real* loss, const int* out_of_range, double* total, double* step, const float* scale, word report,
             Index count, int layers, double weight, int first, int last) {
    __shared__ double partials[THREADS / WARP];
    double sum = 0;
    for (Index i = threadIdx.x; i < count; i += THREADS) sum += loss[i];
    sum = block_sum(sum, partials);
    if (threadIdx.x != 0) return;
    sum = (first ? 0 : total[0]) + weight * sum;
    total[0] = sum;
    if (!last) return;
    int found = 0;
    for (int i = 0; i < layers; i++) found |= out_of_range[i];
    step[3] = sum - sum == 0 && found == 0;
    volatile double* host = (volatile double*)report;
    host[1] = sum;
    host[2] = found != 0;
    if (scale)
        for (int i = 0; i < SCALE_VALUES; i++) host[3 + i] = scale[i];
    __threadfence_system();
    host[0] = step[4];
}

// squares[block] = sum of g^2 over the block's chunk.
KERNEL gradient_squares(const Entry* entries, const Chunk* chunks, double* squares) {
    __shared__ double partials[THREADS / WARP];
    Chunk chunk = chunks[blockIdx.x];
    const Entry e = entries[chunk.entry];
    Index stop = end_of(chunk, e);
    double sum = 0;
    if (e.lr_mult != 0)
        for (Index i = chunk.start + threadIdx.x; i < stop; i += THREADS) sum += (double)e.g[i] * e.g[i];
    sum = block_sum(sum, partials);
    if (threadIdx.x == 0) squares[blockIdx.x] = sum;
}

// A gradient that is NaN or infinite skips the step and halves the scale; INTERVAL good steps in a row double it.
static __device__ __forceinline__ void update_scale(float* scale, double* step, bool finite) {
    if (step[3] == 0) return;  // the loss was not finite: that says nothing about the scale
    if (!finite) {
        step[3] = 0;
        scale[NEXT] = scale[SCALE] / 2 > LEAST_SCALE ? scale[SCALE] / 2 : LEAST_SCALE;
        scale[GOOD] = 0;
        scale[SKIPPED] += 1;
    } else if ((scale[GOOD] += 1) >= INTERVAL) {
        scale[NEXT] = scale[SCALE] * 2 < MOST_SCALE ? scale[SCALE] * 2 : MOST_SCALE;
        scale[GOOD] = 0;
    }
}

KERNEL adopt_scale(float* scale) {
    if (threadIdx.x != 0) return;
    scale[SCALE] = scale[NEXT];
    scale[INVERSE] = 1 / scale[NEXT];
}

// One block: step[2] = limit / norm where the gradients' norm exceeds the limit (below 0: no limit), else 1. scale: the
// loss scale, which is updated, or null.
KERNEL clip_factor(const double* squares, double* step, Index chunks, double limit, float* scale) {
    __shared__ double partials[THREADS / WARP];
    double sum = 0;
    for (Index i = threadIdx.x; i < chunks; i += THREADS) sum += squares[i];
    sum = block_sum(sum, partials);
    if (threadIdx.x == 0) {
        double norm = sqrt(sum);
        step[2] = limit >= 0 && norm > limit ? limit / norm : 1;
        if (scale) update_scale(scale, step, norm - norm == 0);
    }
}

KERNEL clear_gradients(const Entry* entries, const Chunk* chunks) {
    Chunk chunk = chunks[blockIdx.x];
    const Entry e = entries[chunk.entry];
    Index stop = end_of(chunk, e);
    for (Index i = chunk.start + threadIdx.x; i < stop; i += THREADS) e.g[i] = 0;
}

// RULE(name, body): the body computes the step from the regularised gradient g and the history h1, h2. The step replaces
// the gradient in memory, as in Caffe.
// p and q are the momenta of h1 and h2; cp = 1 - p, cq = 1 - q.
#define RULE(name, BODY)                                                                                         \
    static __device__ __forceinline__ real name##_step(real g, real w, real& h1, real& h2, real rate,            \
                                                       real corrected, real decay, real p, real cp, real q,      \
                                                       real cq, real delta) {                                    \
        BODY                                                                                                     \
    }                                                                                                            \
    KERNEL name##_update(const Entry* entries, const Chunk* chunks, const double* step, double grad_scale,       \
                         int regularization, int decoupled, double p, double q, double delta) {                  \
        Chunk chunk = chunks[blockIdx.x];                                                                        \
        const Entry e = entries[chunk.entry];                                                                    \
        if (e.lr_mult == 0 || step[3] == 0) return;                                                              \
        __shared__ real weights[CHUNK];                                                                          \
        Index stop = end_of(chunk, e);                                                                           \
        real rate = (real)(step[0] * e.lr_mult), corrected = (real)(step[1] * e.lr_mult);                        \
        real factor = (real)(step[2] * grad_scale), decay = (real)e.decay;                                       \
        for (Index i = chunk.start + threadIdx.x; i < stop; i += THREADS) {                                      \
            real w = e.w[i], g = e.g[i] * factor, h1 = e.h1[i], h2 = e.h2 ? e.h2[i] : 0;                         \
            if (!decoupled) g += decay * (regularization == L1 ? (real)((w > 0) - (w < 0)) : w);                 \
            g = name##_step(g, w, h1, h2, rate, corrected, decoupled ? decay : 0, (real)p, (real)(1 - p),        \
                            (real)q, (real)(1 - q), (real)delta);                                                \
            e.g[i] = g;                                                                                          \
            e.h1[i] = h1;                                                                                        \
            if (e.h2) e.h2[i] = h2;                                                                              \
            e.w[i] = w -= g;                                                                                     \
            if (e.working) e.working[i] = w;                                                                     \
            if (e.last) weights[i - chunk.start] = w;                                                            \
        }                                                                                                        \
        if (!e.last) return;                                                                                     \
        __syncthreads();                                                                                         \
        write_last(e, weights, chunk.start, stop);                                                               \
    }

RULE(sgd, h1 = p * h1 + rate * g; return h1;)
RULE(nesterov, real before = p * h1; h1 = before + rate * g; return (1 + p) * h1 - before;)
RULE(adagrad, h1 += g * g; return rate * g / (sqrt(h1) + delta);)
RULE(rmsprop, h1 = p * h1 + cp * g * g; return rate * g / (sqrt(h1) + delta);)
RULE(adadelta, h1 = p * h1 + cp * g * g; g *= sqrt((h2 + delta) / (h1 + delta)); h2 = p * h2 + cp * g * g;
     return rate * g;)
RULE(adam, h1 = p * h1 + cp * g; h2 = q * h2 + cq * g * g;
     return corrected * h1 / (sqrt(h2) + delta) + rate * decay * w;)
