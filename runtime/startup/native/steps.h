/* What native/launcher.c and native/steps.c have in common: a program without a C library. */

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/syscall.h>

enum { VALUES = 32 }; /* of steps */

/* Make a system call, and return what the kernel returns: an error is negative. */
#define kernel(...) kernel_of((const long[6]){__VA_ARGS__})

long kernel_of(const long *of);
long length(const char *text);
const char *after(const char *text, const char *start); /* What follows; NULL where it begins otherwise. */
int same(const char *one, const char *other), has(const char *text, const char *part);
int look(long directory, const char *path, struct statx *status);
void append(char *text, long number); /* In decimal. */
long follow(int at, long *values, char **words); /* Take steps from there on; their status, or -1. */
long take_steps(char **words, char **environment, int count);
