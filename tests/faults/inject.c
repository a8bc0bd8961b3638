/* Makes calls of processes fail, wait or see another time, as a small shared file says (LD_PRELOAD).
 *
 * INJECT_CONTROL  the file: `struct control`, made and changed by the test while the processes run
 *
 * Rules, in order:
 * 1. Without the file, or with no rule in force, every call is the real one.
 * 2. A rule names calls, a path prefix ("" for calls without a path), perhaps one process; it fails with its error,
 *    or waits first where it has none. The first rule that fits counts.
 * 3. A call that was made to fail has had no effect; a sync that was made to fail has synced nothing.
 * 4. Each hit is counted in the file: a test can see that its fault happened.
 * 5. Wall time is moved by `wall_shift`; monotonic and boot time are the kernel's own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))real(#name))
#define RULES 8
#define PATH_BYTES 4096

enum { OPEN = 1, WRITE = 2, SYNC = 4, TRUNCATE = 8, RENAME = 16, READ = 32, ALLOCATE = 64 };

struct rule {
    uint32_t calls; /* 0: not in force */
    int32_t error, process, left; /* process 0: any; left < 0: without end */
    uint64_t delay_microseconds, at_least_bytes, hits;
    char prefix[472];
};
struct control { int64_t wall_shift; uint64_t unused[7]; struct rule rules[RULES]; };

static volatile struct control *control;

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("INJECT_CONTROL");
    if (!path) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) abort();
    void *found = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (found == MAP_FAILED) abort();
    close(fd);
    control = found;
}

static int concerns(volatile struct rule *rule, uint32_t call, const char *path, size_t bytes) {
    if (!(rule->calls & call) || bytes < rule->at_least_bytes) return 0;
    if (rule->process && rule->process != getpid()) return 0;
    const char *prefix = (const char *)rule->prefix;
    return !strncmp(path, prefix, strlen(prefix));
}

/* Take one hit where the rule has one left. */
static int take(volatile struct rule *rule) {
    int32_t left = __atomic_load_n(&rule->left, __ATOMIC_SEQ_CST);
    while (left > 0)
        if (__atomic_compare_exchange_n(&rule->left, &left, left - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) break;
    if (!left) return 0;
    __atomic_add_fetch(&rule->hits, 1, __ATOMIC_SEQ_CST);
    return 1;
}

/* 1 when the call shall fail; errno is set. */
static int strikes(uint32_t call, const char *path, size_t bytes) {
    for (int i = 0; i < RULES; i++) {
        volatile struct rule *rule = &control->rules[i];
        if (!concerns(rule, call, path, bytes) || !take(rule)) continue;
        if (rule->delay_microseconds) usleep((useconds_t)rule->delay_microseconds);
        if (!rule->error) return 0;
        errno = rule->error;
        return 1;
    }
    return 0;
}

static int wanted(uint32_t call) {
    if (!control) return 0;
    for (int i = 0; i < RULES; i++)
        if (control->rules[i].calls & call) return 1;
    return 0;
}

static int path_fails(uint32_t call, const char *path) { return wanted(call) && path && strikes(call, path, 0); }

/* Files and folders only: sockets and pipes are not disks. */
static int file_fails(uint32_t call, int fd) {
    char link_name[64], path[PATH_BYTES];
    if (!wanted(call)) return 0;
    int kept = errno;
    snprintf(link_name, sizeof link_name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link_name, path, sizeof path - 1);
    errno = kept;
    if (length <= 0 || path[0] != '/') return 0;
    path[length] = 0;
    return strikes(call, path, 0);
}

/* --- files --- */

#define MODE(flags) ({ mode_t m = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); \
    m = va_arg(a, mode_t); va_end(a); } m; })

static int do_open(int at, const char *path, int flags, mode_t mode) {
    if (path_fails(OPEN, path)) return -1;
    return REAL(openat64)(at, path, flags, mode);
}
EXPORT int open(const char *path, int flags, ...) { return do_open(AT_FDCWD, path, flags, MODE(flags)); }
EXPORT int open64(const char *path, int flags, ...) { return do_open(AT_FDCWD, path, flags, MODE(flags)); }
EXPORT int openat(int at, const char *path, int flags, ...) { return do_open(at, path, flags, MODE(flags)); }
EXPORT int openat64(int at, const char *path, int flags, ...) { return do_open(at, path, flags, MODE(flags)); }

#define FAILING(call, real_call) do { if (file_fails(call, fd)) return -1; return real_call; } while (0)

EXPORT ssize_t write(int fd, const void *b, size_t n) { FAILING(WRITE, REAL(write)(fd, b, n)); }
EXPORT ssize_t pwrite64(int fd, const void *b, size_t n, off64_t at) { FAILING(WRITE, REAL(pwrite64)(fd, b, n, at)); }
EXPORT ssize_t pwrite(int fd, const void *b, size_t n, off_t at) { FAILING(WRITE, REAL(pwrite64)(fd, b, n, at)); }
EXPORT ssize_t writev(int fd, const struct iovec *d, int n) { FAILING(WRITE, REAL(writev)(fd, d, n)); }
EXPORT ssize_t read(int fd, void *b, size_t n) { FAILING(READ, REAL(read)(fd, b, n)); }
EXPORT ssize_t pread64(int fd, void *b, size_t n, off64_t at) { FAILING(READ, REAL(pread64)(fd, b, n, at)); }
EXPORT ssize_t pread(int fd, void *b, size_t n, off_t at) { FAILING(READ, REAL(pread64)(fd, b, n, at)); }
EXPORT int fsync(int fd) { FAILING(SYNC, REAL(fsync)(fd)); }
EXPORT int fdatasync(int fd) { FAILING(SYNC, REAL(fdatasync)(fd)); }
EXPORT int ftruncate64(int fd, off64_t size) { FAILING(TRUNCATE, REAL(ftruncate64)(fd, size)); }
EXPORT int ftruncate(int fd, off_t size) { FAILING(TRUNCATE, REAL(ftruncate64)(fd, size)); }

EXPORT int rename(const char *from, const char *to) {
    if (path_fails(RENAME, from)) return -1;
    return REAL(rename)(from, to);
}

/* --- memory --- */

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

static int memory_fails(size_t bytes) { return wanted(ALLOCATE) && strikes(ALLOCATE, "", bytes); }

EXPORT void *malloc(size_t bytes) { return memory_fails(bytes) ? NULL : __libc_malloc(bytes); }
EXPORT void *calloc(size_t count, size_t bytes) {
    return memory_fails(count * bytes) ? NULL : __libc_calloc(count, bytes);
}
EXPORT void *realloc(void *old, size_t bytes) { return memory_fails(bytes) ? NULL : __libc_realloc(old, bytes); }

/* --- time --- */

EXPORT int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += control->wall_shift;
    return failed;
}
EXPORT int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int failed = (int)syscall(SYS_gettimeofday, now, zone);
    if (!failed && control) now->tv_sec += control->wall_shift;
    return failed;
}
EXPORT time_t time(time_t *now) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (now) *now = at.tv_sec;
    return at.tv_sec;
}
