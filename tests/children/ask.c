/* ask NAME PORT SECONDS WORKERS PAUSE_MS [all]: requests from inside a network, each with a look-up and a connection.
 *
 * One address of the answer is taken, at random, and no other is tried: what fails has failed. With `all` the others
 * are tried in turn, as a patient client does when a machine is gone. Ends after SECONDS, or on SIGTERM, with one line
 * of JSON: requests that were answered, how many of them not by the first address, those that were not, and why the
 * first was not. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct counts { volatile long ok, second, failed; char why[128]; };

static volatile sig_atomic_t is_stopping;

static void stop(int number) { (void)number; is_stopping = 1; }

/* An A query to the engine's own DNS (RFC 1035); return how many addresses came, or -1. */
static int look_up(const char *name, struct in_addr *found, int most) {
    unsigned char packet[1024] = {0x12, 0x34, 1, 0, 0, 1};
    int length = 12, answers = 0;
    for (const char *label = name; *label;) {
        const char *dot = strchr(label, '.');
        size_t size = dot ? (size_t)(dot - label) : strlen(label);
        packet[length++] = size;
        memcpy(packet + length, label, size);
        length += size;
        label += size + (dot != NULL);
    }
    length++;
    packet[length + 1] = 1, packet[length + 3] = 1, length += 4;
    int question = length, server = socket(AF_INET, SOCK_DGRAM, 0);
    struct timeval patience = {.tv_sec = 5};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(53)};
    inet_aton("127.0.0.11", &address.sin_addr);
    setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int got = -1;
    if (!connect(server, (struct sockaddr *)&address, sizeof address) && write(server, packet, length) == length)
        got = read(server, packet, sizeof packet);
    close(server);
    if (got < question) return -1;
    for (int at = question, left = packet[6] << 8 | packet[7]; left > 0 && at + 12 <= got; left--) {
        while (at < got && packet[at] && packet[at] < 0xc0) at += packet[at] + 1;
        at += packet[at] ? 2 : 1;
        int type = packet[at + 1], size = packet[at + 8] << 8 | packet[at + 9];
        at += 10;
        if (type == 1 && size == 4 && answers < most) memcpy(&found[answers++], packet + at, 4);
        at += size;
    }
    return answers;
}

static const char *request(struct in_addr address_of, int port, int patience_seconds) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address_of};
    struct timeval patience = {.tv_sec = patience_seconds};
    int client = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const char *why = NULL, text[] = "GET / HTTP/1.1\r\nHost: answer\r\nConnection: close\r\n\r\n";
    char reply[512] = "";
    size_t length = 0;
    ssize_t got = 0;
    if (connect(client, (struct sockaddr *)&address, sizeof address)) why = "not connected";
    else if (write(client, text, sizeof text - 1) != (ssize_t)sizeof text - 1) why = "not sent";
    else {
        while (length < sizeof reply - 1 && (got = read(client, reply + length, sizeof reply - 1 - length)) > 0) length += got;
        if (got < 0 || strncmp(reply, "HTTP/1.1 200", 12) || !strstr(reply, "\r\n\r\n")) why = "not answered";
    }
    close(client);
    return why;
}

/* Return why no address answered, or NULL; *tries says how many were asked. */
static const char *ask(const char *name, int port, int is_patient, int *tries) {
    struct in_addr found[64];
    int count = look_up(name, found, 64);
    if (count <= 0) return "no address";
    const char *why = NULL;
    for (int first = rand() % count, most = is_patient ? count : 1; *tries < most && !is_stopping;) {
        /* Where others can be asked, one that does not answer is not waited for long. */
        why = request(found[(first + (*tries)++) % count], port, is_patient ? 2 : 5);
        if (!why) return NULL;
    }
    return why;
}

int main(int argc, char **argv) {
    if (argc != 6 && (argc != 7 || strcmp(argv[6], "all"))) return 2;
    int port = atoi(argv[2]), workers = atoi(argv[4]);
    time_t end = time(NULL) + atoi(argv[3]);
    struct timespec pause = {.tv_nsec = atol(argv[5]) * 1000000};
    struct counts *counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    for (int worker = 0; worker < workers; worker++)
        if (!fork()) {
            srand(worker + 1);
            while (!is_stopping && time(NULL) < end) {
                int tries = 0;
                const char *why = ask(argv[1], port, argc == 7, &tries);
                if (!why) __sync_fetch_and_add(&counts->ok, 1), __sync_fetch_and_add(&counts->second, tries > 1);
                else if (!is_stopping /* which interrupts a request */ && !__sync_fetch_and_add(&counts->failed, 1)) snprintf(counts->why, sizeof counts->why, "%s (%s)", why, strerror(errno));
                nanosleep(&pause, NULL);
            }
            _exit(0);
        }
    while (wait(NULL) > 0 || errno == EINTR)
        if (is_stopping) kill(0, SIGTERM);
    printf("{\"ok\": %ld, \"second\": %ld, \"failed\": %ld, \"why\": \"%s\"}\n", counts->ok, counts->second, counts->failed, counts->why);
    return 0;
}
