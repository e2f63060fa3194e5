// Runs CUDA kernels on the CPU, to test them: every thread of a block runs on a fibre, blocks run one after another.
// A thread that has ended hands its fibre to the next one, so kernels without barriers need a single one.
//
// The compiler is asked to report each memory access (the calls of -fsanitize=thread, answered here) and each wrong
// alignment, index and division (those of -fsanitize=alignment,bounds,integer-divide-by-zero). So a launch fails when
//   - an access lies outside the arrays given to the kernel, the shared memory and the thread's own stack,
//   - two threads touch the same shared memory, one of them writing, with no barrier between,
//   - a barrier or a warp exchange is not reached by all threads that have to.
// Shared memory is filled with NaN bits before each block.
#include "emulation.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>

extern "C" {
__attribute__((visibility("default"))) int emulation_backwards = 0;  // blocks and threads in another order
}

namespace emu {

const int MOST_THREADS = 1024;
const size_t STACK = 64 << 10, APART = STACK + 17 * 64;  // a power of two would put all of them into a few lines of the cache
enum State { NEW, READY, AT_BARRIER, AT_WARP, DONE };

struct Warp {
    uint64_t slot[2][32];
    unsigned arrived, epoch;
};

typedef uint64_t Touch;  // block_epoch, 32 bits; thread, 10; epoch of its warp, 22. All ones: nobody

struct Cell {  // of one byte of shared memory: threads write 16-bit numbers, and bytes, side by side
    Touch write, read, other_read;
};
const size_t WORD = 4;  // bytes that share the first one's cell until one of them is accessed alone

static uint3 grid, block, block_index;
static int threads, current;
static int position;     // of the current thread among those that run in this pass over the block
static bool descending;  // this pass
static int waiting, done;
static bool lines_differ;  // threads wait at different barriers
static uint3 thread_index[MOST_THREADS];
static State state[MOST_THREADS];
static int barrier_line[MOST_THREADS];
static Warp warps[MOST_THREADS / 32];
static unsigned block_epoch;  // no two blocks of a library share one: the shadow needs no clearing between them
static Kernel kernel;
static void** arguments;
static const char* const* names;
static const Range* ranges;
static int n_ranges;
static unsigned char last_range[256];  // of the places in the code that access memory, by a part of their address

static char* stacks;
static int fibre_of[MOST_THREADS];  // by thread
static int idle[MOST_THREADS], n_idle;
static bool started[MOST_THREADS];  // by fibre, as what follows
static ucontext_t contexts[MOST_THREADS], unused_context;
typedef void* Jump[5];  // where to go on, for the compiler's own setjmp, which is faster than the library's
static Jump fibres[MOST_THREADS], scheduler, abandoned;
static char message[1024];
static Cell* shadow;
static bool* in_parts;  // the words of which each byte has its own cell
static char* dynamic;         // shared memory whose size the launch gives
static size_t dynamic_size, most_dynamic;

static inline char* stack_of(int fibre) { return stacks + fibre * APART; }

__attribute__((noinline)) static void free_fibres() {
    memset(started, 0, sizeof started);
    for (n_idle = 0; n_idle < MOST_THREADS; ++n_idle) idle[n_idle] = MOST_THREADS - 1 - n_idle;
}

__attribute__((noinline, noreturn)) static void go_on(Jump at) { __builtin_longjmp(at, 1); }  // never where its setjmp is

__attribute__((noinline)) static void fail(const char* format, ...) {
    uint3 t = thread_index[current];
    int n = snprintf(message, sizeof message, "block (%u, %u, %u), thread (%u, %u, %u): ", block_index.x, block_index.y,
                     block_index.z, t.x, t.y, t.z);
    va_list rest;
    va_start(rest, format);
    vsnprintf(message + n, sizeof message - n, format, rest);
    va_end(rest);
    free_fibres();  // they are somewhere inside the kernel
    go_on(abandoned);
}

// Make the next thread of this pass that can go on the current one.
static inline bool next() {
    while (++position < threads) {
        int t = descending ? threads - 1 - position : position;
        if (state[t] > READY) continue;
        current = t;
        return true;
    }
    return false;
}

__attribute__((noinline)) static void fibre();

__attribute__((noinline, noreturn)) static void run_current() {
    if (state[current] == READY) go_on(fibres[fibre_of[current]]);
    state[current] = READY;
    int f = fibre_of[current] = idle[--n_idle];
    if (started[f]) go_on(fibres[f]);
    started[f] = true;
    ucontext_t& c = contexts[f];
    getcontext(&c);
    c.uc_stack.ss_sp = stack_of(f);
    c.uc_stack.ss_size = STACK;
    c.uc_link = &unused_context;
    makecontext(&c, fibre, 0);
    setcontext(&c);
    __builtin_unreachable();
}

__attribute__((noinline)) static void leave_fibre(int f, bool others) {
    if (__builtin_setjmp(fibres[f])) return;
    if (others) run_current();
    go_on(scheduler);
}

__attribute__((noinline)) static void leave() {
    int f = fibre_of[current];
    leave_fibre(f, next());
}

__attribute__((noinline)) static void fibre() {
    for (;;) {
        kernel(arguments);
        state[current] = DONE;
        ++done;
        int f = fibre_of[current];
        bool others = next();
        if (others && state[current] == NEW) {
            state[current] = READY;
            fibre_of[current] = f;
        } else {
            idle[n_idle++] = f;
            leave_fibre(f, others);
        }
    }
}

__attribute__((noinline)) static void run_pass() {
    if (!__builtin_setjmp(scheduler)) run_current();
}

// -- accesses -------------------------------------------------------------------------------------------------
extern "C" char __start_cuda_shared[] __attribute__((weak)), __stop_cuda_shared[] __attribute__((weak));

static inline size_t shared_size() { return __start_cuda_shared ? __stop_cuda_shared - __start_cuda_shared : 0; }
static inline size_t dynamic_offset() { return (shared_size() + WORD - 1) / WORD * WORD; }  // behind the others

void* dynamic_shared() { return dynamic; }

static inline int thread_of(Touch touch) { return touch >> 22 & 1023; }

static inline bool unordered(Touch before, Touch now) {
    if ((before ^ now) >> 32 || thread_of(before) == thread_of(now)) return false;
    return thread_of(before) / 32 != thread_of(now) / 32 || !((before ^ now) & 0x3fffff);
}

__attribute__((noinline)) static void race(size_t i, bool write, Touch now) {
    const Cell& cell = shadow[i];
    bool written = unordered(cell.write, now);
    fail("race in shared memory, byte %zu: it %s what thread %d %s, with no barrier between", i,
         write ? "writes" : "reads",
         thread_of(written ? cell.write : unordered(cell.read, now) ? cell.read : cell.other_read),
         written ? "wrote" : "reads");
}

static inline void touch(size_t i, bool write, Touch now) {
    Cell& cell = shadow[i];
    if (unordered(cell.write, now) || (write && (unordered(cell.read, now) || unordered(cell.other_read, now))))
        race(i, write, now);
    if (write) {
        cell.write = now;
    } else {
        if (thread_of(cell.read) != current) cell.other_read = cell.read;
        cell.read = now;
    }
}

__attribute__((noinline)) static void touch_shared(size_t offset, size_t size, bool write) {
    Touch now = (Touch)block_epoch << 32 | (Touch)current << 22 | (warps[current / 32].epoch & 0x3fffff);
    for (size_t i = offset; i < offset + size;) {
        bool whole = i % WORD == 0 && offset + size - i >= WORD;
        if (!in_parts[i / WORD] && !whole) {
            Cell* cells = shadow + i / WORD * WORD;
            for (size_t k = 1; k < WORD; ++k) cells[k] = cells[0];
            in_parts[i / WORD] = true;
        }
        touch(i, write, now);
        i += in_parts[i / WORD] ? 1 : WORD;
    }
}

__attribute__((noinline)) static void outside(uintptr_t at, size_t size, bool write) {
    const Range* nearest = nullptr;
    uintptr_t least = UINTPTR_MAX;
    bool past = false;
    for (int i = 0; i < n_ranges; ++i) {
        bool behind = at >= ranges[i].start;
        uintptr_t distance = behind ? at + size - ranges[i].stop : ranges[i].start - at;
        if (distance < least) {
            least = distance;
            nearest = &ranges[i];
            past = behind;
        }
    }
    const char* verb = write ? "writes" : "reads";
    if (!nearest || least > (1u << 24))
        fail("out of bounds: it %s %zu bytes at address %#zx, far from every array", verb, size, (size_t)at);
    fail("out of bounds: it %s %zu bytes, up to %zu bytes %s of `%s`", verb, size, (size_t)least,
         past ? "past the end" : "before the start", nearest->argument < 0 ? "a table's array" : names[nearest->argument]);
}

__attribute__((noinline)) static void access_elsewhere(uintptr_t at, size_t size, bool write, unsigned char& last) {
    if (at - (uintptr_t)__start_cuda_shared < shared_size())
        return touch_shared(at - (uintptr_t)__start_cuda_shared, size, write);
    size_t offset = at - (uintptr_t)dynamic;
    if (dynamic_size && offset < (dynamic_size + 4095) / 4096 * 4096) {  // of the pages that it was given
        if (offset + size > dynamic_size)
            fail("out of bounds: it %s past the %zu bytes of dynamic shared memory", write ? "writes" : "reads", dynamic_size);
        return touch_shared(dynamic_offset() + offset, size, write);
    }
    if (at - (uintptr_t)stack_of(fibre_of[current]) < STACK) return;
    for (int i = 0; i < n_ranges; ++i)
        if (at >= ranges[i].start && at + size <= ranges[i].stop) {
            last = i < 256 ? i : 0;
            return;
        }
    outside(at, size, write);
}

// place: in the code. Each tends to access the same array again and again.
static inline void access(const void* pointer, size_t size, bool write, void* place) {
    if (current < 0) return;
    uintptr_t at = (uintptr_t)pointer;
    unsigned char& last = last_range[(uintptr_t)place >> 2 & 255];
    const Range& range = ranges[last];
    if (n_ranges && at >= range.start && at + size <= range.stop) return;
    access_elsewhere(at, size, write, last);
}

void read_atomically(const void* at, size_t size) { access(at, size, false, __builtin_return_address(0)); }

// -- what threads wait for ------------------------------------------------------------------------------------
void barrier(int line) {
    static int last_line;
    if (waiting++ && line != last_line) lines_differ = true;
    barrier_line[current] = last_line = line;
    state[current] = AT_BARRIER;
    leave();
}

__attribute__((noinline)) static unsigned lanes(int warp) {
    int n = threads - warp * 32;
    return n >= 32 ? 0xffffffffu : (1u << n) - 1;
}

uint64_t exchange(unsigned mask, uint64_t value, int source) {
    int lane = current % 32;
    Warp& warp = warps[current / 32];
    mask &= lanes(current / 32);
    if (!(mask >> lane & 1)) fail("a warp exchange without its own lane in the mask");
    if (source < 0 || source > 31 || !(mask >> source & 1)) source = lane;
    unsigned epoch = warp.epoch;
    warp.slot[epoch & 1][lane] = value;
    warp.arrived |= 1u << lane;
    if (warp.arrived == mask) {
        warp.arrived = 0;
        ++warp.epoch;
        for (int i = 0; i < 32; ++i)
            if (state[current / 32 * 32 + i] == AT_WARP) state[current / 32 * 32 + i] = READY;
    } else {
        state[current] = AT_WARP;
        leave();
    }
    return warp.slot[epoch & 1][source];
}

// Threads that can never go on, at least one of which waits.
__attribute__((noinline)) static void fail_to_go_on() {
    int in_warp = -1, first = -1;
    for (int t = 0; t < threads; ++t) {
        if (state[t] == AT_WARP) in_warp = t;
        if (state[t] != AT_BARRIER) continue;
        if (first < 0) first = t;
        current = t;
        if (barrier_line[t] != barrier_line[first])
            fail("waits at the barrier of line %d, thread %d at that of line %d", barrier_line[t], first,
                 barrier_line[first]);
    }
    current = in_warp >= 0 ? in_warp : first;
    fail(in_warp >= 0 ? "waits in a warp exchange that other lanes of its warp never reach"
                      : "waits at a barrier that other threads never reach");
}

__attribute__((noinline)) static void run_block() {
    for (int t = 0; t < threads; ++t) state[t] = NEW;
    for (int w = 0; w * 32 < threads; ++w) warps[w].arrived = warps[w].epoch = 0;
    waiting = done = 0;
    lines_differ = false;
    ++block_epoch;
    memset(__start_cuda_shared, 0xff, shared_size());
    if (dynamic_size) memset(dynamic, 0xff, dynamic_size);
    for (descending = emulation_backwards;; descending = !descending) {
        position = -1;
        bool progress = next();
        if (progress) run_pass();
        if (done == threads) return;
        if (lines_differ || !progress) fail_to_go_on();
        if (waiting == threads) {
            ++block_epoch;
            waiting = 0;
            for (int t = 0; t < threads; ++t) state[t] = READY;
        }
    }
}

const char* launch(Kernel called, const char* const* argument_names, const unsigned* sizes, void** values,
                            const Range* arrays, int n_arrays) {
    grid = {sizes[0], sizes[1], sizes[2]};
    block = {sizes[3], sizes[4], sizes[5]};
    threads = block.x * block.y * block.z;
    if (threads < 1 || threads > MOST_THREADS || grid.y > 65535 || grid.z > 65535 || !grid.x || !grid.y || !grid.z)
        return "invalid configuration argument";
    if (!stacks) {
        stacks = (char*)aligned_alloc(4096, MOST_THREADS * APART);
        free_fibres();
    }
    dynamic_size = sizes[6];
    if (!shadow || dynamic_size > most_dynamic) {
        free(shadow);
        free(in_parts);
        free(dynamic);
        most_dynamic = dynamic_size;
        size_t words = (dynamic_offset() + most_dynamic) / WORD + 1, cells = words * WORD * sizeof(Cell);
        shadow = (Cell*)malloc(cells);
        memset(shadow, 0xff, cells);
        in_parts = (bool*)calloc(words, sizeof(bool));
        dynamic = (char*)aligned_alloc(4096, (most_dynamic + 4096) / 4096 * 4096);
    }
    kernel = called;
    names = argument_names;
    arguments = values;
    ranges = arrays;
    n_ranges = n_arrays;
    memset(last_range, 0, sizeof last_range);
    for (int t = 0; t < threads; ++t)
        thread_index[t] = {t % block.x, t / block.x % block.y, t / block.x / block.y};
    if (__builtin_setjmp(abandoned)) {
        current = -1;
        return message;
    }
    size_t blocks = (size_t)grid.x * grid.y * grid.z;
    for (size_t i = 0; i < blocks; ++i) {
        size_t k = emulation_backwards ? blocks - 1 - i : i;
        block_index = {(unsigned)(k % grid.x), (unsigned)(k / grid.x % grid.y), (unsigned)(k / grid.x / grid.y)};
        run_block();
    }
    current = -1;
    return nullptr;
}

int lane() { return current % 32; }
uint3 now_thread() { return thread_index[current]; }
uint3 now_block() { return block_index; }
uint3 now_block_size() { return block; }
uint3 now_grid_size() { return grid; }

}  // namespace emu

// -- what the compiler's checks call --------------------------------------------------------------------------
#define CALLED extern "C" __attribute__((visibility("hidden"))) void
#define REPORT(name, size, write) \
    CALLED __tsan_##name(void* p) { emu::access(p, size, write, __builtin_return_address(0)); }
#define REPORTS(size) \
    REPORT(read##size, size, false) REPORT(unaligned_read##size, size, false) \
    REPORT(write##size, size, true) REPORT(unaligned_write##size, size, true)
REPORTS(1) REPORTS(2) REPORTS(4) REPORTS(8) REPORTS(16)
CALLED __tsan_read_range(void* p, size_t size) { emu::access(p, size, false, __builtin_return_address(0)); }
CALLED __tsan_write_range(void* p, size_t size) { emu::access(p, size, true, __builtin_return_address(0)); }
CALLED __tsan_init() {}

struct Place {
    const char* file;
    uint32_t line, column;
};
CALLED __ubsan_handle_type_mismatch_v1_abort(Place* place, void* pointer) {
    emu::fail("%s:%u: misaligned access at address %p", place->file, place->line, pointer);
}
CALLED __ubsan_handle_out_of_bounds_abort(Place* place, void* index) {
    emu::fail("%s:%u: out of bounds: index %zd of an array", place->file, place->line, (ptrdiff_t)index);
}
CALLED __ubsan_handle_divrem_overflow_abort(Place* place, void*, void*) {
    emu::fail("%s:%u: division by zero", place->file, place->line);
}

// -- 16-bit numbers ---------------------------------------------------------------------------------------------
unsigned bits_of_float(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

float float_of_bits(unsigned bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float float_of_half(unsigned short bits) {
    unsigned size = (bits & 0x7fff) << 13;  // where a float has them; its exponent counts from 127, not from 15
    float x = size < 31u << 23 ? float_of_bits(size) * 0x1p112f : size > 31u << 23 ? __builtin_nanf("") : __builtin_inff();
    return bits >> 15 ? -x : x;
}

unsigned short half_of_float(float x) {
    unsigned sign = bits_of_float(x) >> 31 << 15, size = bits_of_float(x) & 0x7fffffff;
    if (x != x) return 0x7fff;
    if (__builtin_fabsf(x) >= 65520) return sign | 0x7c00;
    if (__builtin_fabsf(x) < 0x1p-14f)  // subnormal: a unit in the last place of 0.5 is one of float16, and the sum is rounded
        return sign | (bits_of_float(__builtin_fabsf(x) + 0.5f) - bits_of_float(0.5f));
    return sign | ((size + 0xfff + (size >> 13 & 1)) >> 13) - (112 << 10);  // ties to even; 112 as above
}
