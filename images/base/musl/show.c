/* The service of the musl image: prints who it is and what it was given.
 *
 *   show            its pid, then its environment, one entry a line
 *   show NAME...    the named variables' values
 *   show -w         "ready", then waits for a signal
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2 && strcmp(argv[1], "-w") == 0) {
        puts("ready");
        pause();
        return 0;
    }
    if (argc == 1) {
        printf("pid %ld\n", (long)getpid());
        for (char **entry = environ; *entry; entry++)
            puts(*entry);
        return 0;
    }
    for (int i = 1; i < argc; i++) {
        const char *value = getenv(argv[i]);
        if (!value)
            return 1;
        puts(value);
    }
    return 0;
}
