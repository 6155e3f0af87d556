/* What containerd calls a shim's program for, a fork of a shim that is there does (runtime/shim/lending.py, which says
 * what goes to and fro): so no Python is started. Saves 8 ms of `start` and of `delete`.
 *
 * Part of launcher.c. Defined by runtime/startup/launcher.py are SHIMS (what the paths of shims' sockets begin with)
 * and MODULES (a file that is another one whenever naja's code has changed).
 */

#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

enum { MOST_WORDS = 1000, SECONDS = 2, READY = 'r' };

/* FNV-1a, 64 bits. */
static unsigned long long hashed(unsigned long long hash, const void *content, long size)
{
    for (const unsigned char *byte = content; size--; byte++)
        hash = (hash ^ *byte) * 0x100000001B3ULL;
    return hash;
}

/* Return what follows a prefix of a word, else null. */
static const char *after(const char *word, const char *prefix)
{
    while (*prefix && *word == *prefix)
        word++, prefix++;
    return *prefix ? 0 : word;
}

/* Return the address of containerd, which shims are called with. */
static const char *containerd(int count, char **words)
{
    for (int word = 1; word < count; word++) {
        const char *rest = after(words[word], "-address");
        if (rest && *rest == '=')
            return rest + 1;
        if (rest && !*rest)
            return words[word + 1];
    }
    return 0;
}

/* Find where a shim lends itself to this containerd, with this code, in this mount namespace. */
static int find_lender(const char *address, struct sockaddr_un *place)
{
    struct statx modules, mounts;
    if (!look(AT_FDCWD, MODULES, &modules) || kernel(SYS_statx, AT_FDCWD, (long)"/proc/self/ns/mnt", 0, STATX_INO, (long)&mounts))
        return 0;
    const unsigned long long state[4] = {
        modules.stx_ino, modules.stx_mtime.tv_sec, modules.stx_mtime.tv_nsec, mounts.stx_ino,
    };
    unsigned long long hash = hashed(0xCBF29CE484222325ULL, address, length(address));
    hash = hashed(hash, state, sizeof state);
    char *end = place->sun_path;
    for (const char *each = SHIMS; *each; each++)
        *end++ = *each;
    for (int shift = 60; shift >= 0; shift -= 4)
        *end++ = "0123456789abcdef"[hash >> shift & 15];
    *end = 0;
    return 1;
}

/* Send the words and the environment, each with its null, the standard streams and the working directory. */
static int ask(long lender, int count, char **words, char **environment)
{
    struct iovec parts[1 + MOST_WORDS];
    int used = 1;
    parts[0] = (struct iovec){&count, sizeof count};
    for (int list = 0; list < 2; list++)
        for (char **word = list ? environment : words; *word; word++) {
            if (used > MOST_WORDS)
                return 0;
            parts[used++] = (struct iovec){*word, length(*word) + 1};
        }
    const int here = (int)kernel(SYS_openat, AT_FDCWD, (long)".", PATH_ONLY | O_CLOEXEC);
    const int descriptors[4] = {0, 1, 2, here};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof descriptors)];
    } rights = {{.cmsg_len = CMSG_LEN(sizeof descriptors), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    __builtin_memcpy(CMSG_DATA(&rights.header), descriptors, sizeof descriptors);
    const struct msghdr message = {
        .msg_iov = parts, .msg_iovlen = used, .msg_control = &rights, .msg_controllen = sizeof rights,
    };
    const long sent = kernel(SYS_sendmsg, lender, (long)&message, MSG_NOSIGNAL);
    kernel(SYS_close, here);
    return sent > 0;
}

/* Have a lender do what this was called for. Returns an exit status, or -1 where there is none, or it gives no answer:
 * then this is done the ordinary way, which finds done what was. */
static long borrow(int count, char **words, char **environment)
{
    const char *address = containerd(count, words);
    struct sockaddr_un place;
    place.sun_family = AF_UNIX;
    if (!address || (!same(words[count - 1], "start") && !same(words[count - 1], "delete")) || !find_lender(address, &place))
        return -1;
    const long lender = kernel(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const struct timeval patience = {SECONDS}, ever = {0};
    unsigned char answer = 0;
    int done = 0;
    /* It gets the streams when it is there: else they would be open for as long as nobody takes them. */
    kernel(SYS_setsockopt, lender, SOL_SOCKET, SO_SNDTIMEO, (long)&patience, sizeof patience);
    kernel(SYS_setsockopt, lender, SOL_SOCKET, SO_RCVTIMEO, (long)&patience, sizeof patience);
    if (!kernel(SYS_connect, lender, (long)&place, sizeof place) && kernel(SYS_read, lender, (long)&answer, 1) == 1
        && answer == READY && ask(lender, count, words, environment)) {
        kernel(SYS_setsockopt, lender, SOL_SOCKET, SO_RCVTIMEO, (long)&ever, sizeof ever);
        done = kernel(SYS_read, lender, (long)&answer, 1) == 1;
    }
    kernel(SYS_close, lender);
    return done ? answer : -1;
}
