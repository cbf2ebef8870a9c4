/* Stands before the C library and lets what is written below one folder fail, or end the process, from the n-th byte or
   operation on; or what is read, from a place in each file on. Loaded with LD_PRELOAD, armed with faults_arm() or
   faults_arm_reading() through ctypes; does nothing until then. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPERATIONS, BYTES };

static char folder[PATH_MAX];
static size_t length;
static int unit = -1; /* not armed */
static int failure;   /* an errno, or a signal to die by if negative */
static int reads_too; /* also what only reads fails */
static long left;     /* operations or bytes until it fails */
static long seen_operations, seen_bytes;
static long readable = LONG_MAX; /* bytes of each file before the place that cannot be read */
static long failing_reads;       /* so many times; always if negative */

void faults_arm(const char *below, int by_bytes, long after, int error, int reading)
{
    strncpy(folder, below, sizeof folder - 1);
    length = strlen(folder);
    failure = error;
    reads_too = reading;
    left = after;
    seen_operations = seen_bytes = 0;
    unit = by_bytes ? BYTES : OPERATIONS;
}

void faults_arm_reading(const char *below, long after, long times, int error)
{
    faults_arm(below, 0, LONG_MAX, error, 0);
    readable = after;
    failing_reads = times;
}

void faults_seen(long *operations, long *bytes)
{
    *operations = seen_operations;
    *bytes = seen_bytes;
}

static int below(const char *path)
{
    return unit >= 0 && path && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static int held(int descriptor)
{
    char link[64], path[PATH_MAX];
    if (unit < 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    return below(path);
}

static int fails(void)
{
    if (failure < 0) {
        kill(getpid(), -failure);
        for (;;)
            pause();
    }
    errno = failure;
    return 1;
}

/* One operation that changes the folder. */
static int operation(void)
{
    seen_operations++;
    if (unit == OPERATIONS && left-- <= 0)
        return fails();
    /* A disk without room for one byte has none for a new name either. */
    return unit == BYTES && left <= 0 && failure == ENOSPC ? fails() : 0;
}

/* How many of so many bytes still fit; -1 where none do and the call fails. */
static ssize_t room(size_t wanted)
{
    seen_operations++;
    seen_bytes += wanted;
    if (unit == OPERATIONS)
        return left-- <= 0 && fails() ? -1 : (ssize_t)wanted;
    if (left <= 0 && wanted)
        return fails() ? -1 : 0;
    ssize_t fits = (ssize_t)wanted < left ? (ssize_t)wanted : left;
    left -= fits;
    return fits;
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int opening_fails(const char *path, int flags)
{
    if (!below(path))
        return 0;
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT))
        return reads_too && unit == OPERATIONS && left <= 0 ? fails() : 0;
    return operation();
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, mode_t); \
        va_end(rest); \
        REAL(name); \
        return opening_fails(path, flags) ? -1 : real(path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, mode_t); \
        va_end(rest); \
        REAL(name); \
        return opening_fails(path, flags) ? -1 : real(at, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int descriptor, const void *data, size_t size)
{
    REAL(write);
    if (held(descriptor)) {
        ssize_t fits = room(size);
        if (fits < 0)
            return -1;
        size = fits;
    }
    return real(descriptor, data, size);
}

#define PWRITE(name, place) \
    ssize_t name(int descriptor, const void *data, size_t size, place where) \
    { \
        REAL(name); \
        if (held(descriptor)) { \
            ssize_t fits = room(size); \
            if (fits < 0) \
                return -1; \
            size = fits; \
        } \
        return real(descriptor, data, size, where); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    REAL(writev);
    if (held(descriptor)) {
        size_t size = 0;
        for (int part = 0; part < count; part++)
            size += parts[part].iov_len;
        ssize_t fits = room(size);
        if (fits < 0)
            return -1;
        if ((size_t)fits < size) /* as much as lies in the first part: a short write is a legal one */
            return syscall(SYS_write, descriptor, parts[0].iov_base,
                           (size_t)fits < parts[0].iov_len ? (size_t)fits : parts[0].iov_len);
    }
    return real(descriptor, parts, count);
}

ssize_t read(int descriptor, void *data, size_t size)
{
    REAL(read);
    if (reads_too && unit == OPERATIONS && left <= 0 && held(descriptor) && fails())
        return -1;
    if (readable < LONG_MAX && failing_reads && held(descriptor)) {
        off_t at = lseek(descriptor, 0, SEEK_CUR);
        if (at >= readable) {
            failing_reads -= failing_reads > 0;
            fails();
            return -1;
        }
        if ((off_t)size > readable - at)
            size = readable - at;
    }
    return real(descriptor, data, size);
}

#define BY_DESCRIPTOR(name) \
    int name(int descriptor) \
    { \
        REAL(name); \
        return held(descriptor) && operation() ? -1 : real(descriptor); \
    }
BY_DESCRIPTOR(fsync)
BY_DESCRIPTOR(fdatasync)

int rename(const char *from, const char *to)
{
    REAL(rename);
    return below(to) && operation() ? -1 : real(from, to);
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    REAL(renameat);
    return below(to) && operation() ? -1 : real(from_at, from, to_at, to);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    return below(path) && operation() ? -1 : real(path, mode);
}

/* A full disk lets go of what it has. */
int unlink(const char *path)
{
    REAL(unlink);
    return below(path) && failure != ENOSPC && operation() ? -1 : real(path);
}

#define TRUNCATE(name, place) \
    int name(int descriptor, place size) \
    { \
        REAL(name); \
        return held(descriptor) && operation() ? -1 : real(descriptor, size); \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)
