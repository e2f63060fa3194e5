// Arrays (N, C, S) by channel: how blocks of THREADS threads share them, read them and sum over them.
//
// A thread reads vectors of W numbers: LANES (16 bytes) if `vectors` is set, else one. Block (x, y) reads part y of
//   maps (group 0): channel x. Its N * S / W vectors are one sequence, along which the threads stand side by side. A part has
//       `part` vectors.
//   columns: the `group` channels from x * group on. The array is a matrix of N rows and C * S columns. A thread has the
//       columns of one vector, `width` threads side by side read a row, and `workers` rows are read at a time. So arrays
//       whose last axis is C, and small or odd maps, are read by 16 bytes as well. A part has `part` rows.
// Partial results lie in memory part by part; a later kernel adds them up in a fixed order.
#define GROUP 128  // most channels of a block

// W numbers side by side in memory. 16-bit ones stay pairs in registers until they are used.
template <int W>
struct alignas(W * sizeof(stored)) Lanes {
#ifdef STORED
    unsigned int pairs[W / 2];

    __device__ __forceinline__ real operator[](int k) const {
        stored x;
        x.bits = (unsigned short)(k % 2 ? pairs[k / 2] >> 16 : pairs[k / 2]);
        return x;
    }

    __device__ __forceinline__ void set(const real (&r)[W]) {
#pragma unroll
        for (int k = 0; k < W; k += 2) pairs[k / 2] = stored(r[k]).bits | (unsigned int)stored(r[k + 1]).bits << 16;
    }
#else
    stored v[W];

    __device__ __forceinline__ real operator[](int k) const { return v[k]; }

    __device__ __forceinline__ void set(const real (&r)[W]) {
#pragma unroll
        for (int k = 0; k < W; ++k) v[k] = r[k];
    }
#endif
};

#ifdef STORED
template <>
struct Lanes<1> {
    stored v;

    __device__ __forceinline__ real operator[](int) const { return v; }
    __device__ __forceinline__ void set(const real (&r)[1]) { v = r[0]; }
};
#endif

template <int W>
static __device__ __forceinline__ Lanes<W> lanes(const stored* p) {
    return *reinterpret_cast<const Lanes<W>*>(p);
}

template <int W>
static __device__ __forceinline__ void put(stored* p, const Lanes<W>& value) {
    *reinterpret_cast<Lanes<W>*>(p) = value;
}

// A thread's vectors have W numbers, of one channel (P = 1), or each of a channel of its own (P = W).
template <int W, int P>
struct Form {
    static constexpr int width = W, channels = P;
};

// The vectors of a thread, one after the other: `at` is the first element of the next one, `left` how many are left. To go
// on takes no division.
struct Walk {
    Index at, left, i, length, ahead, step, jump;

    __device__ __forceinline__ void next() {
        at += step;
        i += ahead;
        if (i >= length) {
            i -= length;
            at += jump;
        }
    }
};

struct Part {
    Index n, c, s;
    Index channel, channels;          // the block's first channel, and how many it has
    Index width, workers, worker, q;  // the thread is number q of the `width` ones of its worker
    Index span;                       // results that the threads of a worker have for a channel
    Index start, length;              // of the part, in vectors or rows
    bool columns, active;

    __device__ Part(Index n, Index c, Index s, int group, Index part, int vectors) : n(n), c(c), s(s) {
        Index lane = vectors ? LANES : 1, total, wide = 0;
        columns = group > 0;
        if (columns) {
            channel = blockIdx.x * group;
            channels = c - channel < group ? c - channel : group;
            wide = channels * s / lane;
            width = group * s / lane;
            workers = THREADS / width;
            worker = threadIdx.x / width;
            q = threadIdx.x - worker * width;
            span = s;
            total = n;
        } else {
            channel = blockIdx.x;
            channels = 1;
            width = wide = THREADS;
            workers = 1;
            worker = 0;
            q = threadIdx.x;
            span = THREADS;
            total = n * (s / lane);
        }
        start = part * blockIdx.y;
        length = total - start < part ? total - start : part;
        active = worker < workers && q < wide;
    }

    // The thread's vectors; from the last to the first if `back`, since the cache may still have what was read last.
    template <int W>
    __device__ __forceinline__ Walk walk(bool back) const {
        Walk w;
        Index share = columns ? workers : THREADS, first = columns ? worker : q;
        w.left = active && first < length ? (length - first - 1) / share + 1 : 0;
        Index j = start + first + (back && w.left ? (w.left - 1) * share : 0);
        if (columns) {
            w.at = j * c * s + channel * s + q * W;
            w.step = workers * c * s;
            w.i = w.ahead = w.jump = 0;
            w.length = 1;
        } else {
            w.length = s / W;
            Index map = j / w.length, maps = THREADS / w.length;
            w.i = j - map * w.length;
            w.at = (map * c + channel) * s + w.i * W;
            w.ahead = THREADS - maps * w.length;
            w.step = maps * c * s + w.ahead * W;
            w.jump = c * s - s;
            if (back) w.i = w.length - 1 - w.i;
        }
        if (back) {
            w.step = -w.step;
            w.jump = -w.jump;
        }
        return w;
    }

    // use(k, channel within the block) for each lane k of the thread.
    template <int P, typename Use>
    __device__ __forceinline__ void each_lane(Use use) const {
        if (P == 1 && !columns) {
            use(0, (Index)0);
        } else {
            Index g = q * P / s, behind = q * P - g * s;
#pragma unroll
            for (int k = 0; k < P; ++k) {
                use(k, active ? g : 0);
                if (++behind == s) {
                    behind = 0;
                    ++g;
                }
            }
        }
    }

    // use(g, a, b) by one thread for each channel g of the block, with the sums of what sum(g, m, together, a, b) adds to a
    // and b in each thread m of the `together` ones of the channel.
    template <typename Sum, typename Use>
    __device__ __forceinline__ void by_channel(Sum sum, Use use) const {
        Index together = WARP;
        while (together * channels > THREADS) together /= 2;
        if (threadIdx.x / WARP * WARP >= together * channels) return;
        Index g = threadIdx.x / together, m = threadIdx.x - g * together;
        real a = 0, b = 0;
        if (g < channels) sum(g, m, together, a, b);
        for (Index step = together / 2; step > 0; step /= 2) {
            a += __shfl_xor_sync(FULL_WARP, a, step);
            b += __shfl_xor_sync(FULL_WARP, b, step);
        }
        if (g < channels && m == 0) use(g, a, b);
    }

    // use(g, a, b) with the sums of what term(sharer, cell, first cell, a, b) adds for each cell of a channel. A thread has P
    // cells, one for each channel of its vectors; a sharer is a worker of columns, a thread of maps.
    template <typename Term, typename Use>
    __device__ __forceinline__ void collect(int P, Term term, Use use) const {
        by_channel(
            [&](Index g, Index m, Index together, real& a, real& b) {
                for (Index r = 0; r < workers; ++r) {
                    Index row = r * width * P + g * span;
                    for (Index k = m; k < span; k += together) term(columns ? r : k, row + k, g * span, a, b);
                }
            },
            use);
    }

    // use(g, a, b) with the sums of what term(k, channel, a, b) adds for each k < parts.
    template <typename Term, typename Use>
    __device__ __forceinline__ void combine(Index parts, Term term, Use use) const {
        by_channel(
            [&](Index g, Index m, Index together, real& a, real& b) {
#pragma unroll 8
                for (Index k = m; k < parts; k += together) term(k, channel + g, a, b);
            },
            use);
    }
};

// run(Form) for the form that a launch has.
template <typename Run>
static __device__ __forceinline__ void by_form(int group, int vectors, Run run) {
    if (!vectors || LANES == 1)
        run(Form<1, 1>());
    else if (group)
        run(Form<LANES, LANES>());
    else
        run(Form<LANES, 1>());
}

// use(at, value) for each vector of a walk, with value = read(at); up to U reads are under way at a time. ready() is called
// by all threads behind the first reads.
template <int U, typename Read, typename Ready, typename Use>
static __device__ __forceinline__ void each(Walk walk, Read read, Ready ready, Use use) {
    decltype(read((Index)0)) values[U];
    Index places[U];
    auto fetch = [&] {
#pragma unroll
        for (int u = 0; u < U; ++u) {
            places[u] = walk.at;
            if (u < walk.left) values[u] = read(walk.at);
            walk.next();
        }
    };
    fetch();
    ready();
    while (walk.left) {
#pragma unroll
        for (int u = 0; u < U; ++u)
            if (u < walk.left) use(places[u], values[u]);
        if (walk.left <= U) break;
        walk.left -= U;
        fetch();
    }
}

// Adds up partial results (parts, C, 2): a block has WARP channels and `each` parts from blockIdx.y * each on, which its
// warps take in turns.
struct Fold {
    Index c, channel, first, stop;

    __device__ Fold(Index c, Index parts, Index each) : c(c) {
        channel = blockIdx.x * WARP + threadIdx.x % WARP;
        first = blockIdx.y * each;
        stop = parts - first < each ? parts : first + each;
    }

    // The thread's sums of what term(part, its two numbers, a, b) adds, put into shared arrays of THREADS elements.
    template <typename Term>
    __device__ __forceinline__ void sums(const real* partial, real* all_a, real* all_b, Term term) const {
        real a = 0, b = 0;
        if (channel < c) {
#pragma unroll 8
            for (Index k = first + threadIdx.x / WARP; k < stop; k += THREADS / WARP)
                term(k, partial + ((size_t)k * c + channel) * 2, a, b);
        }
        all_a[threadIdx.x] = a;
        all_b[threadIdx.x] = b;
    }

    // use(a, b) with the sums of all warps, by one thread for each channel.
    template <typename Use>
    __device__ __forceinline__ void total(const real* all_a, const real* all_b, Use use) const {
        if (threadIdx.x >= WARP || channel >= c) return;
        real a = 0, b = 0;
#pragma unroll
        for (int w = 0; w < THREADS; w += WARP) {
            a += all_a[w + threadIdx.x];
            b += all_b[w + threadIdx.x];
        }
        use(a, b);
    }
};
