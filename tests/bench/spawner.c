/* Start programs in turn, round after round, and print how long each took from spawn to exit.
 *
 *   spawner ROUNDS MILLISECONDS [cold] < PROGRAMS
 *
 * A machine's speed drifts and its noise comes in bursts, so the programs are interleaved: every round starts each of
 * them once, in an order of its own, and all meet the same weather. One that takes long sits rounds out, so that it
 * takes no more than MILLISECONDS a round on the average, but never fewer than five starts in all.
 *
 * PROGRAMS are strings ended by NUL: for each program the number of its arguments, the arguments, the number of its
 * variables, the variables. Its environment is exactly that; its 0, 1 and 2 are /dev/null. A line is printed for each:
 * starts, then microseconds (median, 10th percentile, minimum, median of the processor time) and the median of its
 * page faults. A program that fails ends the run: what fails early would look fast.
 *
 * With `cold` the kernel's caches are dropped before every start. Started by root, it and its programs go before
 * everything else on the machine (SCHED_FIFO), so that a busy one gives the numbers of an idle one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WALL, PROCESSOR, FAULTS, MEASURES };

struct program {
    char **arguments;
    char **environment;
    long every; /* it takes part in one round of so many */
    long starts;
    double *samples[MEASURES];
};

static void fail(const char *what)
{
    fprintf(stderr, "spawner: %s: %s\n", what, strerror(errno));
    exit(111);
}

static void *memory(size_t count, size_t size)
{
    void *space = calloc(count, size);

    if (space == NULL)
        fail("memory");
    return space;
}

static char *next_string(void)
{
    size_t size = 0;
    char *text = NULL;

    if (getdelim(&text, &size, '\0', stdin) < 0) {
        free(text);
        return NULL;
    }
    return text;
}

static char **next_list(void)
{
    char *number = next_string();
    long count = number ? strtol(number, NULL, 10) : 0;
    char **list = memory((size_t)count + 1, sizeof *list);

    for (long i = 0; i < count; i++)
        if ((list[i] = next_string()) == NULL)
            fail("the list of programs ends early");
    free(number);
    return list;
}

static struct program *read_programs(int *count)
{
    struct program *programs = NULL;
    int next;

    for (*count = 0; (next = getc(stdin)) != EOF; (*count)++) {
        ungetc(next, stdin);
        programs = realloc(programs, ((size_t)*count + 1) * sizeof *programs);
        if (programs == NULL)
            fail("memory");
        programs[*count] = (struct program){.every = 1};
        programs[*count].arguments = next_list();
        programs[*count].environment = next_list();
    }
    return programs;
}

static double microseconds(struct timespec from, struct timespec to)
{
    return (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
}

static double processor_time(const struct rusage *used)
{
    return (double)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) * 1e6 +
           (double)(used->ru_utime.tv_usec + used->ru_stime.tv_usec);
}

/* Start the program, wait for its end; what it took goes to sample[]. */
static void start(const struct program *program, posix_spawn_file_actions_t *nowhere, double sample[MEASURES])
{
    struct timespec before, after;
    struct rusage used;
    pid_t child;
    int status;

    clock_gettime(CLOCK_MONOTONIC, &before);
    errno = posix_spawn(&child, program->arguments[0], nowhere, NULL, program->arguments, program->environment);
    if (errno)
        fail(program->arguments[0]);
    while (wait4(child, &status, 0, &used) < 0)
        if (errno != EINTR)
            fail("wait4");
    clock_gettime(CLOCK_MONOTONIC, &after);
    if (status != 0) {
        fprintf(stderr, "spawner: %s ended with status 0x%x\n", program->arguments[0], (unsigned)status);
        exit(111);
    }
    sample[WALL] = microseconds(before, after);
    sample[PROCESSOR] = processor_time(&used);
    sample[FAULTS] = (double)(used.ru_minflt + used.ru_majflt);
}

static void drop_caches(void)
{
    int file;

    sync();
    file = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, "3", 1) != 1)
        fail("/proc/sys/vm/drop_caches");
    close(file);
}

/* A different order every round, the same in every run (Fisher-Yates with Marsaglia's xorshift64). */
static void shuffle(int *order, int count)
{
    static uint64_t state = 0x9e3779b97f4a7c15;

    for (int i = count - 1; i > 0; i--) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        int other = (int)(state % (uint64_t)(i + 1));
        int kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static void print(struct program *program)
{
    double median[MEASURES];

    for (int measure = 0; measure < MEASURES; measure++) {
        qsort(program->samples[measure], (size_t)program->starts, sizeof(double), by_size);
        median[measure] = program->samples[measure][program->starts / 2];
    }
    printf("%ld %.1f %.1f %.1f %.1f %.0f\n", program->starts, median[WALL],
           program->samples[WALL][program->starts / 10], program->samples[WALL][0], median[PROCESSOR], median[FAULTS]);
}

int main(int argc, char **argv)
{
    int count, is_cold = argc == 4 && strcmp(argv[3], "cold") == 0;
    long rounds = argc >= 3 ? strtol(argv[1], NULL, 10) : 0;
    double most = argc >= 3 ? strtod(argv[2], NULL) * 1e3 : 0;
    posix_spawn_file_actions_t nowhere;

    if (rounds < 1 || most <= 0) {
        fputs("spawner: error: write spawner ROUNDS MILLISECONDS [cold]\n", stderr);
        return 100;
    }
    /* What else runs on the machine shall wait and not be measured; only root can ask for that (sched(7)). */
    struct sched_param first = {.sched_priority = 1};

    if (sched_setscheduler(0, SCHED_FIFO, &first) < 0 && errno != EPERM)
        fail("sched_setscheduler");
    posix_spawn_file_actions_init(&nowhere);
    posix_spawn_file_actions_addopen(&nowhere, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&nowhere, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&nowhere, 2, "/dev/null", O_WRONLY, 0);

    struct program *programs = read_programs(&count);
    int *order = memory((size_t)count, sizeof *order);
    long rarest = rounds > 5 ? rounds / 5 : 1;

    for (int i = 0; i < count; i++) {
        double sample[MEASURES];

        order[i] = i;
        start(&programs[i], &nowhere, sample); /* warms the caches too: this start does not count */
        if (!is_cold)
            programs[i].every = (long)(sample[WALL] / most) + 1;
        if (programs[i].every > rarest)
            programs[i].every = rarest;
        for (int measure = 0; measure < MEASURES; measure++)
            programs[i].samples[measure] = memory((size_t)rounds, sizeof(double));
    }
    for (long round = 0; round < rounds; round++) {
        shuffle(order, count);
        for (int i = 0; i < count; i++) {
            struct program *program = &programs[order[i]];
            double sample[MEASURES];

            if ((round + order[i]) % program->every != 0)
                continue;
            if (is_cold)
                drop_caches();
            start(program, &nowhere, sample);
            for (int measure = 0; measure < MEASURES; measure++)
                program->samples[measure][program->starts] = sample[measure];
            program->starts++;
        }
    }
    for (int i = 0; i < count; i++)
        print(&programs[i]);
    return 0;
}
