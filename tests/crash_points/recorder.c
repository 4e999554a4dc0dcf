/* Records what a process does to the files of one folder, in one order: loaded before the C library by
 * LD_PRELOAD. Each call is made and noted under one lock, so that the log has the order the disk saw.
 *
 * RECORDER_ROOT is the folder, without a slash at its end; RECORDER_LOG the file the log is appended to.
 * SQLite's shared memory (`-shm`) is left out: it is mapped, and means nothing after a restart.
 * One record is a `struct head`, then `length` bytes: a name below the folder, or the bytes written. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { OPENED = 1, CLOSED, WRITTEN, CUT, SYNCED, REMOVED, RENAMED };
enum how { CREATES = 1, EMPTIES = 2 };

struct head {
    uint32_t kind;
    int32_t fd;
    uint32_t how;
    uint32_t mode;
    uint64_t offset;
    uint64_t length;
};

#define FDS_MAX 4096
static const char *root;
static size_t root_length;
static int log_fd = -1;
static unsigned char is_followed[FDS_MAX];
static unsigned char appends[FDS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    root = getenv("RECORDER_ROOT");
    const char *path = getenv("RECORDER_LOG");
    if (!root || !path) return;
    root_length = strlen(root);
    log_fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) _exit(97);
}

/* The name below the folder; NULL for what lies elsewhere or is not followed. */
static const char *name_of(const char *path) {
    if (log_fd < 0 || strncmp(path, root, root_length) != 0 || path[root_length] != '/') return NULL;
    const char *name = path + root_length + 1;
    size_t length = strlen(name);
    return length >= 4 && strcmp(name + length - 4, "-shm") == 0 ? NULL : name;
}

static int follows(int fd) { return log_fd >= 0 && fd >= 0 && fd < FDS_MAX && is_followed[fd]; }

static void note(struct head head, const void *bytes) {
    int before = errno;
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)bytes, head.length}};
    if (syscall(SYS_writev, log_fd, parts, 2) != (long)(sizeof head + head.length)) _exit(98);
    errno = before;
}

static int open_noted(int folder, const char *path, int flags, mode_t mode) {
    const char *name = name_of(path);
    if (!name) return syscall(SYS_openat, folder, path, flags, mode);
    pthread_mutex_lock(&lock);
    int fd = syscall(SYS_openat, folder, path, flags, mode);
    if (fd >= FDS_MAX) _exit(99);
    if (fd >= 0) {
        struct stat found;
        if (fstat(fd, &found) != 0) _exit(99);
        is_followed[fd] = 1;
        appends[fd] = (flags & O_APPEND) != 0;
        uint32_t how = (flags & O_CREAT ? CREATES : 0) | (flags & O_TRUNC ? EMPTIES : 0);
        note((struct head){OPENED, fd, how, found.st_mode & 07777, 0, strlen(name)}, name);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags)                                                                                          \
    mode_t mode = 0;                                                                                         \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                   \
        va_list more;                                                                                        \
        va_start(more, flags);                                                                               \
        mode = va_arg(more, mode_t);                                                                         \
        va_end(more);                                                                                        \
    }

int open(const char *path, int flags, ...) { MODE(flags) return open_noted(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_noted(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return open_noted(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return open_noted(folder, path, flags, mode); }
int creat(const char *path, mode_t mode) { return open_noted(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int close(int fd) {
    if (!follows(fd)) return syscall(SYS_close, fd);
    pthread_mutex_lock(&lock);
    is_followed[fd] = 0;
    note((struct head){CLOSED, fd, 0, 0, 0, 0}, "");
    int done = syscall(SYS_close, fd);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (!follows(fd)) return syscall(SYS_write, fd, bytes, length);
    pthread_mutex_lock(&lock);
    off_t offset = lseek(fd, 0, appends[fd] ? SEEK_END : SEEK_CUR);
    ssize_t done = syscall(SYS_write, fd, bytes, length);
    if (done > 0) note((struct head){WRITTEN, fd, 0, 0, offset, done}, bytes);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    if (!follows(fd)) return syscall(SYS_pwrite64, fd, bytes, length, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_pwrite64, fd, bytes, length, offset);
    if (done > 0) note((struct head){WRITTEN, fd, 0, 0, offset, done}, bytes);
    pthread_mutex_unlock(&lock);
    return done;
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

int ftruncate64(int fd, off_t length) {
    if (!follows(fd)) return syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    int done = syscall(SYS_ftruncate, fd, length);
    if (done == 0) note((struct head){CUT, fd, 0, 0, length, 0}, "");
    pthread_mutex_unlock(&lock);
    return done;
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int sync_noted(long call, int fd) {
    if (!follows(fd)) return syscall(call, fd);
    pthread_mutex_lock(&lock);
    int done = syscall(call, fd);
    if (done == 0) note((struct head){SYNCED, fd, 0, 0, 0, 0}, "");
    pthread_mutex_unlock(&lock);
    return done;
}
int fsync(int fd) { return sync_noted(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_noted(SYS_fdatasync, fd); }

int unlink(const char *path) {
    const char *name = name_of(path);
    if (!name) return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&lock);
    int done = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (done == 0) note((struct head){REMOVED, -1, 0, 0, 0, strlen(name)}, name);
    pthread_mutex_unlock(&lock);
    return done;
}

/* Both names, the old one first, parted by a NUL. */
int rename(const char *from, const char *to) {
    const char *old = name_of(from), *new = name_of(to);
    if (!old || !new) return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    size_t first = strlen(old) + 1, second = strlen(new);
    char both[8192];
    if (first + second > sizeof both) _exit(99);
    memcpy(both, old, first);
    memcpy(both + first, new, second);
    pthread_mutex_lock(&lock);
    int done = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (done == 0) note((struct head){RENAMED, -1, 0, 0, 0, first + second}, both);
    pthread_mutex_unlock(&lock);
    return done;
}
