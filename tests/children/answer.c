/* answer PORT [SECONDS]: an HTTP service that says which TOKEN it has (as a digest), one request a connection.
 *
 * After SIGTERM it goes on for SECONDS (3), since names still lead to it for a moment, answers who waits, and ends. */
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t is_stopping;

static void stop(int number) { (void)number; is_stopping = 1; }

static void answer(int client, const char *body) {
    char request[4096], text[256];
    struct timeval patience = {.tv_sec = 2};
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (read(client, request, sizeof request) > 0) {
        int length = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                              strlen(body), body);
        if (write(client, text, length) != length) perror("write");
    }
    shutdown(client, SHUT_WR);
    while (read(client, request, sizeof request) > 0) {}
    close(client);
}

int main(int argc, char **argv) {
    if (argc != 2 && argc != 3) return 2;
    int drain_seconds = argc == 3 ? atoi(argv[2]) : 3;
    uint64_t digest = 14695981039346656037u; /* FNV-1a */
    for (const char *c = getenv("TOKEN") ? getenv("TOKEN") : ""; *c; c++) digest = (digest ^ (unsigned char)*c) * 1099511628211u;
    char body[32];
    snprintf(body, sizeof body, "%016llx", (unsigned long long)digest);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);

    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) {
        perror("listen");
        return 1;
    }
    time_t end = 0;
    for (;;) {
        if (is_stopping && !end) end = time(NULL) + drain_seconds;
        struct pollfd ready = {.fd = listener, .events = POLLIN};
        int count = poll(&ready, 1, end ? 100 : -1);
        if (count > 0) {
            int client = accept(listener, NULL, NULL);
            if (client >= 0) answer(client, body);
        } else if (end && time(NULL) >= end) {
            return 0;
        }
    }
}
