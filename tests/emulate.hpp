// A grid of blocks on the CPU: kernels as functions `launch_NAME`. With THREADS 1 a block is a plain call; with more, each
// thread is a coroutine that stops at barriers, which shows one that is missing.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstring>
#include <functional>
#include <type_traits>
#include <unordered_set>
#include <utility>

#define KERNEL extern "C" void
#define THREAD emulated::thread
#define BLOCK emulated::at
#define UNROLL
#define ROLLED
#define UNROLL_BY_FOUR
#define GIVEN const
#define ADD(to, value) (*(to) += (value))
#define WROTE(bytes) emulated::wrote(bytes)
#define BARRIER() emulated::barrier()
#define SHARED() unsigned char* shared = emulated::memory

namespace emulated {

static int thread, at;

// Bytes moved: images are read by sectors of 32 bytes, each once a block, which a cache holds, and results are written.
// Built with COUNTING, that is; records, tables and weights are not counted.
static long long moved;
#ifdef COUNTING
static std::unordered_set<unsigned long long> sectors;
static void read(const void* from, int bytes) {
    const auto first = reinterpret_cast<unsigned long long>(from);
    for (unsigned long long sector : {first / 32, (first + bytes - 1) / 32}) moved += sectors.insert(sector).second * 32;
}
static void wrote(int bytes) { moved += bytes; }
static void forget() { sectors.clear(); }
#else
static void read(const void*, int) {}
static void wrote(int) {}
static void forget() {}
#endif
alignas(16) static unsigned char memory[48 << 10];

#if THREADS == 1
static void barrier() {}

static void run(const std::function<void()>& kernel) {
    thread = 0;
    kernel();
}
#else
static ucontext_t scheduler, contexts[THREADS];
static unsigned char stacks[THREADS][64 << 10];
static bool done[THREADS];
static std::function<void()> body;

static void barrier() { swapcontext(&contexts[thread], &scheduler); }

static void start() {
    body();
    done[thread] = true;
}

static void run(const std::function<void()>& kernel) {
    body = kernel;
    for (int n = 0; n < THREADS; ++n) {
        getcontext(&contexts[n]);
        contexts[n].uc_stack.ss_sp = stacks[n], contexts[n].uc_stack.ss_size = sizeof stacks[n];
        contexts[n].uc_link = &scheduler, done[n] = false;
        makecontext(&contexts[n], start, 0);
    }
    for (int phase = 0, left = THREADS; left; ++phase)  // Every other phase runs backwards: no order is promised.
        for (int m = 0; m < THREADS; ++m) {
            thread = phase % 2 ? THREADS - 1 - m : m;
            if (done[thread]) continue;
            const int now = thread;
            swapcontext(&scheduler, &contexts[now]);
            left -= done[now];
        }
}
#endif

// Arguments come as cuLaunchKernel takes them: a pointer to each.
template <class... A, size_t... I>
void launch(void (*kernel)(A...), int blocks, void** args, std::index_sequence<I...>) {
    for (int n = 0; n < blocks; ++n) {
        std::memset(memory, 0xa5, sizeof memory);  // Nothing is left over from the block before.
        at = n;
        forget();
        run([&] { kernel(*static_cast<std::remove_reference_t<A>*>(args[I])...); });
    }
}

template <class... A>
void launch(void (*kernel)(A...), int blocks, void** args) {
    launch(kernel, blocks, args, std::index_sequence_for<A...>());
}

}  // namespace emulated

extern "C" long long bytes_moved() { return std::exchange(emulated::moved, 0); }

#define EMULATED(name) \
    extern "C" void launch_##name(int blocks, void** args) { emulated::launch(name, blocks, args); }
