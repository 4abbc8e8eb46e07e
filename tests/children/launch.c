/* Hands on an exact state: launch [-e ENVFILE] [-i SIGNAL] [-b SIGNAL] [-o FD] [-c FD] [-k SIGNAL] PROGRAM [ARG...]
 *
 *   -e  the environment is this file's strings, a NUL behind each, duplicates and all
 *   -i  ignore a signal     -b  block one     -k  block it, and leave it pending
 *   -o  open /dev/null for writing as this descriptor     -c  close this descriptor
 * Umask, limits and niceness are what the caller has.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static char **strings(const char *path)
{
    struct stat status;
    int file = open(path, O_RDONLY);
    size_t count = 0, at = 0;
    char *text, **all;

    if (file < 0 || fstat(file, &status) < 0)
        return NULL;
    text = malloc((size_t)status.st_size + 1);
    all = calloc((size_t)status.st_size + 2, sizeof *all);
    if (text == NULL || all == NULL || read(file, text, (size_t)status.st_size) != status.st_size)
        return NULL;
    close(file);
    for (; at < (size_t)status.st_size; at += strlen(text + at) + 1)
        all[count++] = text + at;
    return all;
}

int main(int argc, char **argv)
{
    sigset_t blocked;
    int option, descriptor;

    sigemptyset(&blocked);
    while ((option = getopt(argc, argv, "+e:i:b:k:o:c:")) != -1) {
        int number = atoi(optarg);

        switch (option) {
        case 'e':
            environ = strings(optarg);
            if (environ == NULL)
                return 2;
            break;
        case 'i':
            signal(number, SIG_IGN);
            break;
        case 'k':
        case 'b':
            sigaddset(&blocked, number);
            sigprocmask(SIG_BLOCK, &blocked, NULL);
            if (option == 'k')
                raise(number);
            break;
        case 'o':
            descriptor = open("/dev/null", O_WRONLY);
            if (dup2(descriptor, number) < 0)
                return 2;
            if (descriptor != number)
                close(descriptor);
            break;
        case 'c':
            close(number);
            break;
        default:
            return 2;
        }
    }
    if (optind >= argc)
        return 2;
    execv(argv[optind], argv + optind);
    perror(argv[optind]);
    return 2;
}
