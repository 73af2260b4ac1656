/* A small HTTP server: one thread, epoll, keep-alive. It reads a request with its Content-Length
 * and answers a fixed body, the one of empty_server.py. It is for one client that is trusted: `wrk`.
 *
 *     cc -O2 -o epoll epoll.c && ./epoll PORT
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_CLIENTS 4096
#define MOST_BYTES (1 << 16)
#define EVENTS 512

static const char ANSWER[] = "HTTP/1.1 200 OK\r\n"
                             "content-type: application/json\r\n"
                             "content-length: 19\r\n"
                             "\r\n"
                             "{\"predictions\":[0]}";

struct client {
    size_t size;
    char bytes[MOST_BYTES + 1];
};

static struct client *clients[MOST_CLIENTS];

static int check(int result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

/* The bytes of the first request, 0 if it is not complete. */
static size_t request(const struct client *one) {
    const char *end = strstr(one->bytes, "\r\n\r\n");
    if (end == NULL)
        return 0;
    size_t size = end + 4 - one->bytes;
    const char *length = strcasestr(one->bytes, "\r\ncontent-length:");
    if (length != NULL && length < end)
        size += strtoul(length + strlen("\r\ncontent-length:"), NULL, 10);
    return size <= one->size ? size : 0;
}

static void forget(int socket) {
    free(clients[socket]);
    clients[socket] = NULL;
    close(socket);
}

/* Read what is there and answer each complete request. */
static void serve(int socket) {
    struct client *one = clients[socket];
    ssize_t count = read(socket, one->bytes + one->size, MOST_BYTES - one->size);
    if (count <= 0) {
        if (count == 0 || errno != EAGAIN)
            forget(socket);
        return;
    }
    one->size += count;
    one->bytes[one->size] = 0;
    for (size_t size; (size = request(one)) > 0;) {
        one->size -= size;
        memmove(one->bytes, one->bytes + size, one->size + 1);
        if (write(socket, ANSWER, sizeof ANSWER - 1) != sizeof ANSWER - 1) {
            forget(socket);
            return;
        }
    }
}

static void welcome(int listener, int poll) {
    int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (socket < 0)
        return;
    if (socket >= MOST_CLIENTS || (clients[socket] = calloc(1, sizeof(struct client))) == NULL) {
        close(socket);
        return;
    }
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct epoll_event event = {.events = EPOLLIN, .data.fd = socket};
    check(epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event), "epoll_ctl");
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: %s PORT\n", arguments[0]);
        return 2;
    }
    int listener = check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
    check(listen(listener, 1024), "listen");
    int poll = check(epoll_create1(0), "epoll_create1");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    check(epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event), "epoll_ctl");
    for (;;) {
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int number = 0; number < ready; number++) {
            if (events[number].data.fd == listener)
                welcome(listener, poll);
            else
                serve(events[number].data.fd);
        }
    }
}
