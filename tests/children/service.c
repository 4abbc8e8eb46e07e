/* A service that an init looks after. `service DEED [NUMBER]` says "ready" when it has got that far; USR2 ends it with 42.
 *
 *   signals     says "NUMBER VALUE" for each signal that arrives, in order, none merged
 *   stubborn    ignores everything that can be ignored
 *   plain       leaves every signal as it is
 *   orphans N   has N grandchildren whose parents have ended; they all end at the next USR1
 *   remains N   ends with 5 and leaves N descendants in sessions of their own behind, which ignore TERM
 *   writer N    writes N megabytes of zeros to stdout, and "written" to stderr
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *text)
{
    if (write(1, text, strlen(text)) < 0)
        _exit(90);
}

static int report_signals(void)
{
    sigset_t all;
    siginfo_t info;
    char line[64];

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    say("ready\n");
    for (;;) {
        int number = sigwaitinfo(&all, &info);

        if (number < 0)
            continue;
        snprintf(line, sizeof line, "%d %ld\n", number, info.si_code == SI_QUEUE ? (long)info.si_value.sival_int : -1L);
        say(line);
        if (number == SIGUSR2)
            return 42;
    }
}

static void wait_for(int number)
{
    sigset_t one;
    int got;

    sigemptyset(&one);
    sigaddset(&one, number);
    sigwait(&one, &got);
}

static int orphans(int count)
{
    sigset_t both;
    int gate[2], started[2];
    char byte;

    sigemptyset(&both);
    sigaddset(&both, SIGUSR1);
    sigaddset(&both, SIGUSR2);
    sigprocmask(SIG_BLOCK, &both, NULL);
    if (pipe(gate) < 0 || pipe(started) < 0)
        return 91;
    for (int i = 0; i < count; i++) {
        pid_t parent = fork();

        if (parent < 0)
            return 92;
        if (parent == 0) {
            if (fork() == 0) {
                close(gate[1]);
                if (write(started[1], "x", 1) != 1 || read(gate[0], &byte, 1) != 0)
                    _exit(93);
                _exit(0);
            }
            _exit(0);
        }
        waitpid(parent, NULL, 0);
    }
    for (int i = 0; i < count; i++)
        if (read(started[0], &byte, 1) != 1)
            return 94;
    say("ready\n");
    wait_for(SIGUSR1);
    close(gate[1]);
    wait_for(SIGUSR2);
    return 42;
}

static int remains(int count)
{
    int started[2];
    char byte;

    if (pipe(started) < 0)
        return 91;
    for (int i = 0; i < count; i++) {
        if (fork() == 0) {
            signal(SIGTERM, SIG_IGN);
            setsid();
            close(0), close(1), close(2);
            if (write(started[1], "x", 1) != 1)
                _exit(93);
            for (;;)
                pause();
        }
    }
    for (int i = 0; i < count; i++)
        if (read(started[0], &byte, 1) != 1)
            return 94;
    say("ready\n");
    return 5;
}

static int writer(int megabytes)
{
    static char block[65536];

    for (int i = 0; i < megabytes * 16; i++)
        for (size_t at = 0; at < sizeof block;) {
            ssize_t count = write(1, block + at, sizeof block - at);

            if (count < 0)
                return 95;
            at += (size_t)count;
        }
    return write(2, "written\n", 8) < 0;
}

int main(int argc, char **argv)
{
    const char *deed = argc > 1 ? argv[1] : "plain";
    int number = argc > 2 ? atoi(argv[2]) : 1;

    if (geteuid() == 0 && setresuid(0, 0, 0) < 0) /* as a setuid program: nobody else may signal it from now on */
        return 96;
    if (strcmp(deed, "signals") == 0)
        return report_signals();
    if (strcmp(deed, "orphans") == 0)
        return orphans(number);
    if (strcmp(deed, "remains") == 0)
        return remains(number);
    if (strcmp(deed, "writer") == 0)
        return writer(number);
    if (strcmp(deed, "stubborn") == 0)
        for (int signo = 1; signo <= 64; signo++)
            signal(signo, SIG_IGN);
    say("ready\n");
    for (;;)
        pause();
}
