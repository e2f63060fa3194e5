// The end of a loss or an accuracy: its terms become one number in the launch that computes them. Each block adds up its own;
// the last block to get there adds up those of all blocks, in their order. Needs labels.cuh.

// out (1) = the sum of the terms / kept_divisor (1), which becomes `divisor` if that is above 0, else the number of terms that
// count, and at least 1. out_of_range (1): see out_of_range_at. For the kernel's own use: parts (blocks, 2), and arrived (1),
// which is 0 before and after.
#define TOTAL real* parts, real* out, real* kept_divisor, int* out_of_range, int* arrived, real divisor
#define TOTAL_VALUES parts, out, kept_divisor, out_of_range, arrived, divisor

// Shared memory of Terms::end.
struct EndMemory {
    real partials[THREADS / WARP];
    int is_last;
};

// The terms of a thread.
struct Terms {
    real sum = 0, counted = 0;

    // The term of a label of class k (class_of) at a position. It counts unless the label is ignored or out of range.
    __device__ __forceinline__ void add(real term, int k, Index position, int* out_of_range) {
        if (k == OUT_OF_RANGE) out_of_range_at(position, out_of_range);
        if (k < 0) return;
        sum += term;
        counted += 1;
    }

    // To be called by all threads.
    __device__ void end(EndMemory& memory, TOTAL) {
        sum = block_sum(sum, memory.partials);
        counted = block_sum(counted, memory.partials);
        if (threadIdx.x == 0) {
            parts[2 * (size_t)blockIdx.x] = sum;
            parts[2 * (size_t)blockIdx.x + 1] = counted;
            __threadfence();
            memory.is_last = (unsigned int)atomicAdd(arrived, 1) + 1 == gridDim.x;
        }
        __syncthreads();
        if (!memory.is_last) return;
        __threadfence();
        sum = counted = 0;
        const volatile real* all = parts;
        for (Index b = threadIdx.x; b < gridDim.x; b += THREADS) {
            sum += all[2 * (size_t)b];
            counted += all[2 * (size_t)b + 1];
        }
        sum = block_sum(sum, memory.partials);
        counted = block_sum(counted, memory.partials);
        if (threadIdx.x == 0) {
            real by = divisor > 0 ? divisor : larger(counted, 1);
            out[0] = sum / by;
            kept_divisor[0] = by;
            *arrived = 0;
        }
    }
};
