/* A service that tells what was handed to it: dump FOLDER [ARG...] copies /proc/self files there, as they are.
 *
 * Nothing else runs in it, so that what it finds is what exec gave it. It ends with 0, or with 1 and the failed call.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int folder;

static void check(int ok, const char *call)
{
    if (!ok) {
        perror(call);
        exit(1);
    }
}

static int made(const char *name)
{
    int to = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    check(to >= 0, name);
    return to;
}

static void copy(const char *name)
{
    static char block[1 << 16];
    char path[64];
    ssize_t got;
    int from, to;

    snprintf(path, sizeof path, "/proc/self/%s", name);
    from = open(path, O_RDONLY | O_CLOEXEC);
    check(from >= 0, path);
    to = made(name);
    while ((got = read(from, block, sizeof block)) > 0)
        check(write(to, block, (size_t)got) == got, "write");
    check(got == 0, path);
    close(from);
    close(to);
}

static void descriptors(void)
{
    char line[4200], target[4096];
    DIR *all;
    int to;
    struct dirent *entry;

    /* As they are before this program opens anything that stays. */
    all = opendir("/proc/self/fd");
    check(all != NULL, "/proc/self/fd");
    to = made("fds");
    while ((entry = readdir(all)) != NULL) {
        int number = atoi(entry->d_name);
        ssize_t length;

        if (entry->d_name[0] == '.' || number == dirfd(all) || number == to || number == folder)
            continue;
        length = readlinkat(dirfd(all), entry->d_name, target, sizeof target);
        check(length >= 0, "readlinkat");
        snprintf(line, sizeof line, "%d %.*s flags %x\n", number, (int)length, target, fcntl(number, F_GETFL));
        check(write(to, line, strlen(line)) == (ssize_t)strlen(line), "write");
    }
    close(to);
    closedir(all);
}

int main(int argc, char **argv)
{
    char path[4096];
    ssize_t length;
    int to;

    if (argc < 2)
        return 2;
    mkdir(argv[1], 0755);
    folder = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    check(folder >= 0, argv[1]);
    copy("environ");
    copy("cmdline");
    copy("status");
    copy("limits");
    copy("stat");
    descriptors();
    length = readlink("/proc/self/cwd", path, sizeof path);
    check(length >= 0, "cwd");
    to = made("cwd");
    check(write(to, path, (size_t)length) == length, "write");
    return 0;
}
