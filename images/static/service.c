/* A service in one file: GET / wants `Authorization: Bearer $API_TOKEN`, 204 with it and 401 without.
 *
 * `service --check` asks the one that runs, with the token that the shim gave to it as well.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 8080
#define REQUEST_BYTES 16384

static void stop(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static struct sockaddr_in address(in_addr_t host)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(host)}};
}

/* Return how many bytes came until an empty line, or until nothing comes any more. */
static size_t read_head(int connection, char *head)
{
    size_t length = 0;
    ssize_t count;

    while (length < REQUEST_BYTES - 1 && (count = read(connection, head + length, REQUEST_BYTES - 1 - length)) > 0) {
        length += (size_t)count;
        head[length] = '\0';
        if (strstr(head, "\r\n\r\n"))
            break;
    }
    head[length] = '\0';
    return length;
}

/* Every byte is compared, so that the time tells nothing about the token. */
static int may_pass(const char *head, const char *token)
{
    static const char name[] = "\r\nAuthorization: Bearer ";
    const char *given = strstr(head, name);
    const char *end = given ? strstr(given + 2, "\r\n") : NULL;
    size_t length = strlen(token);
    unsigned char different = 0;

    if (end == NULL)
        return 0;
    given += sizeof name - 1;
    if ((size_t)(end - given) != length)
        return 0;
    for (size_t i = 0; i < length; i++)
        different |= (unsigned char)(given[i] ^ token[i]);
    return different == 0;
}

static int serve(const char *token)
{
    static char head[REQUEST_BYTES];
    struct sockaddr_in here = address(INADDR_ANY);
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, 16) < 0)
        return fail("listen");
    for (;;) {
        int connection = accept(listener, NULL, NULL);

        if (connection < 0)
            return fail("accept");
        if (read_head(connection, head) > 0)
            dprintf(connection, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    may_pass(head, token) ? "204 No Content" : "401 Unauthorized");
        close(connection);
    }
}

static int check(const char *token)
{
    static char head[REQUEST_BYTES];
    struct sockaddr_in there = address(INADDR_LOOPBACK);
    int connection = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(connection, (struct sockaddr *)&there, sizeof there) < 0)
        return fail("connect");
    dprintf(connection, "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", token);
    return read_head(connection, head) > 0 && strstr(head, " 204 ") ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *token = getenv("API_TOKEN");

    if (token == NULL || *token == '\0') {
        fputs("service: API_TOKEN is not set\n", stderr);
        return 1;
    }
    if (argc > 1 && strcmp(argv[1], "--check") == 0)
        return check(token);
    signal(SIGTERM, stop); /* PID 1 gets no default action */
    signal(SIGPIPE, SIG_IGN);
    return serve(token);
}
