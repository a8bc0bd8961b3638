/* Records what processes do to the files below one folder, in one global order (LD_PRELOAD).
 *
 * RECORDER_ROOT   the folder, an absolute path without symbolic links
 * RECORDER_TRACE  a folder outside of it: `trace` (the records) and `state` (this structure, shared by all processes)
 * RECORDER_SYNC_MICROSECONDS  added to each fsync, as a slow disk would
 *
 * Rules, in order:
 * 1. An operation and its record happen under one lock, so the order of records is the order of operations.
 * 2. fsync is recorded when it has returned, and names the record count at its beginning: it covers what came before.
 * 3. `used` moves after a record is whole: a process that dies inside leaves nothing that a reader could see.
 * 4. A write is recorded before it happens and taken back when it fails: who is killed in between leaves a write that
 *    others did not see, never one they saw and that is missing.
 * 5. What cannot be rebuilt (a writable shared mapping, sendfile into a file) is recorded as 'X': the rebuilder refuses.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))real(#name))
#define MAGIC 0x52434f52u
#define LOWEST_FD 600
#define PATH_BYTES 4096

struct state { uint64_t used, count; pthread_mutex_t lock; };
struct record { uint32_t magic, bytes, op, pid; uint64_t inode, first, second; uint32_t path_bytes, data_bytes; };

static struct state *state;
static int trace_fd = -1;
static char root[PATH_BYTES], trace_path[PATH_BYTES];
static size_t root_length;
static useconds_t sync_delay;

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

static void open_trace(void) {
    int low = REAL(open)(trace_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (low < 0) abort();
    trace_fd = fcntl(low, F_DUPFD_CLOEXEC, LOWEST_FD);
    if (trace_fd < 0) abort();
    close(low);
}

static void make_state(const char *path) {
    char fresh[PATH_BYTES + 32];
    snprintf(fresh, sizeof fresh, "%s.%d", path, getpid());
    int fd = REAL(open)(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || REAL(ftruncate)(fd, sizeof(struct state))) abort();
    struct state *made = REAL(mmap)(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (made == MAP_FAILED) abort();
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&made->lock, &kind);
    munmap(made, sizeof *made);
    close(fd);
    REAL(link)(fresh, path); /* somebody else's may be there already: then ours is not used */
    REAL(unlink)(fresh);
}

__attribute__((constructor)) static void begin(void) {
    const char *below = getenv("RECORDER_ROOT"), *folder = getenv("RECORDER_TRACE");
    const char *delay = getenv("RECORDER_SYNC_MICROSECONDS");
    if (!below || !folder) return;
    char path[PATH_BYTES];
    snprintf(root, sizeof root, "%s", below);
    root_length = strlen(root);
    sync_delay = delay ? (useconds_t)atoi(delay) : 0;
    snprintf(trace_path, sizeof trace_path, "%s/trace", folder);
    snprintf(path, sizeof path, "%s/state", folder);
    int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        make_state(path);
        fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    }
    if (fd < 0) abort();
    state = REAL(mmap)(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (state == MAP_FAILED) abort();
    close(fd);
    open_trace();
}

/* A process died inside: `used` tells which records are whole, so count them again. */
static void recount(void) {
    struct record head;
    uint64_t at = 0, count = 0;
    while (at < state->used && pread64(trace_fd, &head, sizeof head, (off64_t)at) == (ssize_t)sizeof head) {
        at += head.bytes;
        count++;
    }
    state->count = count;
}

static void lock(void) {
    if (pthread_mutex_lock(&state->lock) == EOWNERDEAD) {
        recount();
        pthread_mutex_consistent(&state->lock);
    }
}

static void unlock(void) { pthread_mutex_unlock(&state->lock); }

static int below_root(const char *path) {
    return !strncmp(path, root, root_length) && (path[root_length] == 0 || path[root_length] == '/');
}

/* The absolute path of (folder, path); 1 when it is below the root. */
static int locate(int folder, const char *path, char *out) {
    if (!state || !path) return 0;
    if (path[0] == '/') {
        snprintf(out, PATH_BYTES, "%s", path);
    } else {
        char at[PATH_BYTES], link_name[64];
        snprintf(link_name, sizeof link_name, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(folder == AT_FDCWD ? "/proc/self/cwd" : link_name, at, sizeof at - 1);
        if (length < 0) return 0;
        at[length] = 0;
        if ((size_t)snprintf(out, PATH_BYTES, "%s/%s", at, path) >= PATH_BYTES) return 0;
    }
    return below_root(out);
}

/* Is this descriptor a file or folder below the root? Its status, and its path where `out` is given. */
static int ours(int fd, struct stat *status, char *out) {
    char link_name[64], place[PATH_BYTES];
    if (!state || fstat(fd, status) || !(S_ISREG(status->st_mode) || S_ISDIR(status->st_mode))) return 0;
    snprintf(link_name, sizeof link_name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link_name, place, sizeof place - 1);
    if (length < 0) return 0;
    place[length] = 0;
    if (out) memcpy(out, place, (size_t)length + 1);
    return below_root(place);
}

static void put(const void *bytes, size_t count, uint64_t *at) {
    const char *from = bytes;
    while (count) {
        ssize_t done = REAL(pwrite64)(trace_fd, from, count, (off64_t)*at);
        if (done < 0 && errno == EBADF) { open_trace(); continue; }
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) abort();
        from += done;
        *at += (uint64_t)done;
        count -= (size_t)done;
    }
}

/* The lock is held. `path` may hold two names with a zero byte between them. */
static void record(char op, uint64_t inode, uint64_t first, uint64_t second, const char *path, size_t path_bytes,
                   const struct iovec *data, int parts, size_t data_bytes) {
    int kept = errno;
    uint64_t at = state->used;
    struct record r = {MAGIC, (uint32_t)(sizeof r + path_bytes + data_bytes), (uint32_t)op, (uint32_t)getpid(),
                       inode, first, second, (uint32_t)path_bytes, (uint32_t)data_bytes};
    put(&r, sizeof r, &at);
    if (path_bytes) put(path, path_bytes, &at);
    for (int i = 0; i < parts && data_bytes; i++) {
        size_t some = data[i].iov_len < data_bytes ? data[i].iov_len : data_bytes;
        put(data[i].iov_base, some, &at);
        data_bytes -= some;
    }
    __atomic_store_n(&state->used, at, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&state->count, 1, __ATOMIC_SEQ_CST);
    errno = kept;
}

static void record_path(char op, uint64_t inode, uint64_t first, const char *path) {
    record(op, inode, first, 0, path, strlen(path), NULL, 0, 0);
}

static void refuse(const char *what) { record_path('X', 0, 0, what); }

/* --- open --- */

static int do_open(int folder, const char *path, int flags, mode_t mode) {
    char place[PATH_BYTES];
    struct stat status;
    if (!(flags & (O_CREAT | O_TRUNC)) || !locate(folder, path, place))
        return REAL(openat64)(folder, path, flags, mode);
    lock();
    int there = !fstatat(folder, path, &status, 0);
    int fd = REAL(openat64)(folder, path, flags, mode);
    if (fd >= 0 && (flags & O_TMPFILE) == O_TMPFILE) refuse("O_TMPFILE");
    else if (fd >= 0 && !fstat(fd, &status)) {
        if (!there) record_path('C', status.st_ino, status.st_mode, place);
        else if ((flags & O_TRUNC) && S_ISREG(status.st_mode)) record('T', status.st_ino, 0, 0, NULL, 0, NULL, 0, 0);
    }
    unlock();
    return fd;
}

#define MODE(flags) ({ mode_t m = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); \
    m = va_arg(a, mode_t); va_end(a); } m; })

EXPORT int open(const char *path, int flags, ...) { return do_open(AT_FDCWD, path, flags, MODE(flags)); }
EXPORT int open64(const char *path, int flags, ...) { return do_open(AT_FDCWD, path, flags, MODE(flags)); }
EXPORT int openat(int at, const char *path, int flags, ...) { return do_open(at, path, flags, MODE(flags)); }
EXPORT int openat64(int at, const char *path, int flags, ...) { return do_open(at, path, flags, MODE(flags)); }
EXPORT int __open_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
EXPORT int __open64_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
EXPORT int creat(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
EXPORT int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* --- write --- */

static size_t total(const struct iovec *data, int parts) {
    size_t bytes = 0;
    for (int i = 0; i < parts; i++) bytes += data[i].iov_len;
    return bytes;
}

static void writes(struct stat *status, int64_t at, const struct iovec *data, int parts, size_t bytes) {
    record('W', status->st_ino, (uint64_t)at, 0, NULL, 0, data, parts, bytes);
}

/* Rule 4. `offset` < 0: at the descriptor's own position. */
#define WRITING(call, offset, data, parts) do { \
    struct stat status_; ssize_t done_; size_t wanted_ = total(data, parts); \
    if (!wanted_ || !ours(fd, &status_, NULL)) return call; \
    lock(); \
    uint64_t used_ = state->used, count_ = state->count; \
    int64_t at_ = offset; \
    if (at_ < 0) at_ = fcntl(fd, F_GETFL) & O_APPEND ? lseek64(fd, 0, SEEK_END) : lseek64(fd, 0, SEEK_CUR); \
    writes(&status_, at_, data, parts, wanted_); \
    done_ = call; \
    if (done_ != (ssize_t)wanted_) { \
        state->used = used_; \
        state->count = count_; \
        if (done_ > 0) writes(&status_, at_, data, parts, (size_t)done_); \
    } \
    unlock(); return done_; } while (0)

EXPORT ssize_t write(int fd, const void *bytes, size_t count) {
    struct iovec one = {(void *)bytes, count};
    WRITING(REAL(write)(fd, bytes, count), -1, &one, 1);
}
EXPORT ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    struct iovec one = {(void *)bytes, count};
    WRITING(REAL(pwrite64)(fd, bytes, count, offset), offset, &one, 1);
}
EXPORT ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return pwrite64(fd, bytes, count, offset);
}
EXPORT ssize_t writev(int fd, const struct iovec *data, int parts) {
    WRITING(REAL(writev)(fd, data, parts), -1, data, parts);
}
EXPORT ssize_t pwritev64(int fd, const struct iovec *data, int parts, off64_t offset) {
    WRITING(REAL(pwritev64)(fd, data, parts, offset), offset, data, parts);
}
EXPORT ssize_t pwritev(int fd, const struct iovec *data, int parts, off_t offset) {
    return pwritev64(fd, data, parts, offset);
}
EXPORT ssize_t pwritev64v2(int fd, const struct iovec *data, int parts, off64_t offset, int flags) {
    WRITING(REAL(pwritev64v2)(fd, data, parts, offset, flags), offset, data, parts);
}
EXPORT ssize_t pwritev2(int fd, const struct iovec *data, int parts, off_t offset, int flags) {
    return pwritev64v2(fd, data, parts, offset, flags);
}

/* --- sizes --- */

EXPORT int ftruncate64(int fd, off64_t size) {
    struct stat status;
    if (!ours(fd, &status, NULL)) return REAL(ftruncate64)(fd, size);
    lock();
    int failed = REAL(ftruncate64)(fd, size);
    if (!failed) record('T', status.st_ino, (uint64_t)size, 0, NULL, 0, NULL, 0, 0);
    unlock();
    return failed;
}
EXPORT int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
EXPORT int truncate64(const char *path, off64_t size) {
    int fd = open64(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int failed = ftruncate64(fd, size);
    close(fd);
    return failed;
}
EXPORT int truncate(const char *path, off_t size) { return truncate64(path, size); }

static void extended(struct stat *status, int mode, off64_t offset, off64_t length) {
    if (mode == 0) record('E', status->st_ino, (uint64_t)(offset + length), 0, NULL, 0, NULL, 0, 0);
    else if (mode != FALLOC_FL_KEEP_SIZE) refuse("fallocate");
}
EXPORT int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    struct stat status;
    if (!ours(fd, &status, NULL)) return REAL(fallocate64)(fd, mode, offset, length);
    lock();
    int failed = REAL(fallocate64)(fd, mode, offset, length);
    if (!failed) extended(&status, mode, offset, length);
    unlock();
    return failed;
}
EXPORT int fallocate(int fd, int mode, off_t offset, off_t length) { return fallocate64(fd, mode, offset, length); }
EXPORT int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    struct stat status;
    if (!ours(fd, &status, NULL)) return REAL(posix_fallocate64)(fd, offset, length);
    lock();
    int failed = REAL(posix_fallocate64)(fd, offset, length);
    if (!failed) extended(&status, 0, offset, length);
    unlock();
    return failed;
}
EXPORT int posix_fallocate(int fd, off_t offset, off_t length) { return posix_fallocate64(fd, offset, length); }

/* --- names --- */

static int two_names(char op, const char *from, const char *to, char *both) {
    size_t first = strlen(from), second = strlen(to);
    memcpy(both, from, first + 1);
    memcpy(both + first + 1, to, second);
    record(op, 0, 0, 0, both, first + 1 + second, NULL, 0, 0);
    return 0;
}

EXPORT int renameat2(int at, const char *from, int to_at, const char *to, unsigned flags) {
    char a[PATH_BYTES], b[PATH_BYTES], both[2 * PATH_BYTES];
    int left = locate(at, from, a), right = locate(to_at, to, b);
    if (!left && !right) return REAL(renameat2)(at, from, to_at, to, flags);
    lock();
    int failed = REAL(renameat2)(at, from, to_at, to, flags);
    if (!failed && left && right && !(flags & ~RENAME_NOREPLACE)) two_names('R', a, b, both);
    else if (!failed) refuse("rename across the root");
    unlock();
    return failed;
}
EXPORT int renameat(int at, const char *from, int to_at, const char *to) { return renameat2(at, from, to_at, to, 0); }
EXPORT int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

EXPORT int linkat(int at, const char *from, int to_at, const char *to, int flags) {
    char a[PATH_BYTES], b[PATH_BYTES], both[2 * PATH_BYTES];
    int left = locate(at, from, a), right = locate(to_at, to, b);
    if (!right) return REAL(linkat)(at, from, to_at, to, flags);
    lock();
    int failed = REAL(linkat)(at, from, to_at, to, flags);
    if (!failed && left) two_names('L', a, b, both);
    else if (!failed) refuse("link into the root");
    unlock();
    return failed;
}
EXPORT int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
EXPORT int symlinkat(const char *text, int at, const char *path) {
    char place[PATH_BYTES];
    if (!locate(at, path, place)) return REAL(symlinkat)(text, at, path);
    lock();
    int failed = REAL(symlinkat)(text, at, path);
    if (!failed) refuse("symlink");
    unlock();
    return failed;
}
EXPORT int symlink(const char *text, const char *path) { return symlinkat(text, AT_FDCWD, path); }

EXPORT int unlinkat(int at, const char *path, int flags) {
    char place[PATH_BYTES];
    if (!locate(at, path, place)) return REAL(unlinkat)(at, path, flags);
    lock();
    int failed = REAL(unlinkat)(at, path, flags);
    if (!failed) record_path('U', 0, 0, place);
    unlock();
    return failed;
}
EXPORT int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
EXPORT int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
EXPORT int remove(const char *path) {
    int failed = unlink(path);
    return failed && errno == EISDIR ? rmdir(path) : failed;
}

EXPORT int mkdirat(int at, const char *path, mode_t mode) {
    char place[PATH_BYTES];
    struct stat status;
    if (!locate(at, path, place)) return REAL(mkdirat)(at, path, mode);
    lock();
    int failed = REAL(mkdirat)(at, path, mode);
    if (!failed && !fstatat(at, path, &status, 0)) record_path('D', status.st_ino, status.st_mode, place);
    unlock();
    return failed;
}
EXPORT int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

EXPORT int fchmod(int fd, mode_t mode) {
    struct stat status;
    if (!ours(fd, &status, NULL)) return REAL(fchmod)(fd, mode);
    lock();
    int failed = REAL(fchmod)(fd, mode);
    if (!failed) record('M', status.st_ino, mode, 0, NULL, 0, NULL, 0, 0);
    unlock();
    return failed;
}
EXPORT int fchmodat(int at, const char *path, mode_t mode, int flags) {
    char place[PATH_BYTES];
    struct stat status;
    if (!locate(at, path, place)) return REAL(fchmodat)(at, path, mode, flags);
    lock();
    int failed = REAL(fchmodat)(at, path, mode, flags);
    if (!failed && !fstatat(at, path, &status, 0)) record('M', status.st_ino, mode, 0, NULL, 0, NULL, 0, 0);
    unlock();
    return failed;
}
EXPORT int chmod(const char *path, mode_t mode) { return fchmodat(AT_FDCWD, path, mode, 0); }

/* --- durability --- */

static int synced(int fd, int (*call)(int)) {
    struct stat status;
    if (!ours(fd, &status, NULL)) return call(fd);
    lock();
    uint64_t covered = state->count;
    unlock();
    int failed = call(fd);
    if (sync_delay) usleep(sync_delay);
    if (failed) return failed;
    lock();
    record('F', status.st_ino, covered, 0, NULL, 0, NULL, 0, 0);
    unlock();
    return 0;
}
EXPORT int fsync(int fd) { return synced(fd, REAL(fsync)); }
EXPORT int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

/* --- what cannot be rebuilt --- */

static void refuse_unless_foreign(int fd, const char *what) {
    struct stat status;
    char place[PATH_BYTES];
    if (!ours(fd, &status, place)) return;
    size_t length = strlen(place);
    if (length > 4 && !strcmp(place + length - 4, "-shm")) return; /* SQLite's index of its log: made anew */
    lock();
    refuse(what);
    unlock();
}
EXPORT void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset) {
    if (fd >= 0 && (protection & PROT_WRITE) && (flags & MAP_SHARED)) refuse_unless_foreign(fd, "mmap");
    return REAL(mmap64)(at, length, protection, flags, fd, offset);
}
EXPORT void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    return mmap64(at, length, protection, flags, fd, offset);
}
EXPORT ssize_t sendfile64(int out, int in, off64_t *offset, size_t count) {
    refuse_unless_foreign(out, "sendfile");
    return REAL(sendfile64)(out, in, offset, count);
}
EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t count) {
    return sendfile64(out, in, (off64_t *)offset, count);
}
EXPORT ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count, unsigned flags) {
    refuse_unless_foreign(out, "copy_file_range");
    return REAL(copy_file_range)(in, in_offset, out, out_offset, count, flags);
}
