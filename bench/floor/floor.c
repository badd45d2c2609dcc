/* The floor: the least that a broker on sockets and files can do, to measure brokers against.
 *
 *   floor PORT DIRECTORY TOPIC PARTITIONS
 *
 * One thread, one epoll.  Produce (version 7): receive, check CRC-32C, stamp the offset, pwrite, answer; all answers to one read
 * leave in one send.  Fetch (version 4): sparse index, sendfile.  The other requests are there so that a load generator finds
 * its way.  Nothing else: one topic that always exists, no flush, no validation beyond what keeps the memory safe, no waiting (a
 * fetch at the end of the log is answered empty), one batch per request.  A connection that does anything else is closed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crc32c.h"

enum { PRODUCE = 0, FETCH = 1, LIST_OFFSETS = 2, METADATA = 3, API_VERSIONS = 18, CREATE_TOPICS = 19 };
enum { CORRUPT_MESSAGE = 2, TOPIC_ALREADY_EXISTS = 36 };
enum { RECEIVE = 256 << 10, SEND = 512 << 10, FRAME_LIMIT = 100 << 20, INDEX_INTERVAL = 4096, EVENTS = 64 };
enum { MOST_PARTITIONS = 10000 };
enum { BATCH_HEADER = 61, BATCH_CRC = 17, BATCH_ATTRIBUTES = 21, BATCH_LAST_DELTA = 23 };

typedef struct { int64_t offset, position; } entry_t;

typedef struct {
    int fd;
    int64_t next_offset, size, indexed;
    entry_t *index;
    size_t entries, room;
} partition_t;

typedef struct {
    int fd;
    uint8_t *in;
    size_t held, capacity;
    uint8_t out[SEND];
    size_t filled, sent;
    int file;
    off_t position;
    size_t left;
    int writable;
} connection_t;

typedef struct { const uint8_t *at, *end; } reader_t;

static partition_t *partitions;
static int partition_count, poller, port;
static const char *topic;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static const uint8_t *take(reader_t *r, int64_t size) {
    const uint8_t *at = r->at;
    if (size < 0 || size > r->end - at) {
        r->at = r->end + 1;
        return NULL;
    }
    r->at += size;
    return at;
}

static int64_t number(reader_t *r, int size) {
    const uint8_t *at = r->at <= r->end ? take(r, size) : NULL;
    int64_t value = 0;
    if (at == NULL) return -1;
    value = (int8_t)at[0];
    for (int i = 1; i < size; i++) value = (int64_t)((uint64_t)value << 8 | at[i]);
    return value;
}

static void skip_string(reader_t *r) {
    int64_t size = number(r, 2);
    if (size > 0 && r->at <= r->end) take(r, size);
}

static void put(connection_t *c, int64_t value, int size) {
    for (int i = size - 1; i >= 0; i--) c->out[c->filled++] = (uint8_t)((uint64_t)value >> (8 * i));
}

static void put_string(connection_t *c, const char *text) {
    size_t size = strlen(text);
    put(c, (int64_t)size, 2);
    memcpy(c->out + c->filled, text, size);
    c->filled += size;
}

/* Fill in the length of the frame that starts at `start`, `beyond` bytes of which follow from a file. */
static void close_frame(connection_t *c, size_t start, size_t beyond) {
    uint32_t size = htobe32((uint32_t)(c->filled - start - 4 + beyond));
    memcpy(c->out + start, &size, 4);
}

static void api_versions(connection_t *c) {
    static const int16_t ranges[][3] = {{PRODUCE, 7, 7}, {FETCH, 4, 4}, {LIST_OFFSETS, 2, 2},
                                        {METADATA, 4, 4}, {API_VERSIONS, 0, 0}, {CREATE_TOPICS, 2, 2}};
    put(c, 0, 2);
    put(c, 6, 4);
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 3; j++) put(c, ranges[i][j], 2);
}

static void metadata(connection_t *c) {
    put(c, 0, 4);
    put(c, 1, 4);
    put(c, 0, 4);
    put_string(c, "127.0.0.1");
    put(c, port, 4);
    put(c, -1, 2);
    put(c, -1, 2);
    put(c, 0, 4);
    put(c, 1, 4);
    put(c, 0, 2);
    put_string(c, topic);
    put(c, 0, 1);
    put(c, partition_count, 4);
    for (int i = 0; i < partition_count; i++) {
        put(c, 0, 2);
        put(c, i, 4);
        put(c, 0, 4);
        put(c, 1, 4);
        put(c, 0, 4);
        put(c, 1, 4);
        put(c, 0, 4);
    }
}

static void index_batch(partition_t *p) {
    if (p->entries > 0 && p->size - p->indexed < INDEX_INTERVAL) return;
    if (p->entries == p->room) {
        p->room = p->room ? p->room * 2 : 16;
        p->index = realloc(p->index, p->room * sizeof(entry_t));
        if (p->index == NULL) die("index");
    }
    p->index[p->entries++] = (entry_t){p->next_offset, p->size};
    p->indexed = p->size;
}

/* The error code of appending one batch; its offset is stamped in place. */
static int append(partition_t *p, uint8_t *batch, size_t size) {
    uint32_t stored, delta;
    uint64_t base = htobe64((uint64_t)p->next_offset);
    if (size < BATCH_HEADER) return CORRUPT_MESSAGE;
    memcpy(&stored, batch + BATCH_CRC, 4);
    if (kx_crc32c(0, batch + BATCH_ATTRIBUTES, size - BATCH_ATTRIBUTES) != be32toh(stored)) return CORRUPT_MESSAGE;
    memcpy(batch, &base, 8);
    if (pwrite(p->fd, batch, size, p->size) != (ssize_t)size) die("pwrite");
    index_batch(p);
    memcpy(&delta, batch + BATCH_LAST_DELTA, 4);
    p->next_offset += be32toh(delta) + 1;
    p->size += (int64_t)size;
    return 0;
}

static void create_topics(connection_t *c) {
    put(c, 0, 4);
    put(c, 1, 4);
    put_string(c, topic);
    put(c, TOPIC_ALREADY_EXISTS, 2);
    put(c, -1, 2);
}

/* The end of one partition; it always starts at 0. */
static int list_offsets(connection_t *c, reader_t *r) {
    int64_t index, timestamp;
    take(r, 5);
    if (number(r, 4) != 1) return -2;
    skip_string(r);
    if (number(r, 4) != 1) return -2;
    index = number(r, 4);
    timestamp = number(r, 8);
    if (r->at > r->end || index < 0 || index >= partition_count) return -2;
    put(c, 0, 4);
    put(c, 1, 4);
    put_string(c, topic);
    put(c, 1, 4);
    put(c, index, 4);
    put(c, 0, 2);
    put(c, -1, 8);
    put(c, timestamp == -2 ? 0 : partitions[index].next_offset, 8);
    return 0;
}

/* acks, or -2 when the request does not parse */
static int produce(connection_t *c, reader_t *r) {
    int acks, error;
    int64_t number_of_partition, size, base;
    const uint8_t *batch;
    skip_string(r);
    acks = (int)number(r, 2);
    number(r, 4);
    if (number(r, 4) != 1) return -2;
    skip_string(r);
    if (number(r, 4) != 1) return -2;
    number_of_partition = number(r, 4);
    size = number(r, 4);
    if (r->at > r->end || number_of_partition < 0 || number_of_partition >= partition_count) return -2;
    if (!(batch = take(r, size))) return -2;
    base = partitions[number_of_partition].next_offset;
    error = append(&partitions[number_of_partition], (uint8_t *)batch, (size_t)size);
    put(c, 1, 4);
    put_string(c, topic);
    put(c, 1, 4);
    put(c, number_of_partition, 4);
    put(c, error, 2);
    put(c, error ? -1 : base, 8);
    put(c, -1, 8);
    put(c, 0, 8);
    put(c, 0, 4);
    return acks;
}

/* Where in the file the batch with this offset starts. */
static int64_t locate(const partition_t *p, int64_t offset) {
    size_t low = 0, high = p->entries;
    uint8_t header[BATCH_LAST_DELTA + 4];
    int64_t position;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (p->index[middle].offset <= offset) low = middle;
        else high = middle;
    }
    position = p->entries ? p->index[low].position : 0;
    while (position < p->size && pread(p->fd, header, sizeof header, position) == (ssize_t)sizeof header) {
        uint64_t base;
        uint32_t length, delta;
        memcpy(&base, header, 8);
        memcpy(&length, header + 8, 4);
        memcpy(&delta, header + BATCH_LAST_DELTA, 4);
        if ((int64_t)be64toh(base) + be32toh(delta) >= offset) return position;
        position += 12 + be32toh(length);
    }
    return p->size;
}

static int fetch(connection_t *c, reader_t *r) {
    int64_t index, offset, limit;
    partition_t *p;
    number(r, 4);
    number(r, 4);
    number(r, 4);
    number(r, 4);
    number(r, 1);
    if (number(r, 4) != 1) return -2;
    skip_string(r);
    if (number(r, 4) != 1) return -2;
    index = number(r, 4);
    offset = number(r, 8);
    limit = number(r, 4);
    if (r->at > r->end || index < 0 || index >= partition_count || limit < 0) return -2;
    p = &partitions[index];
    c->file = p->fd;
    c->position = locate(p, offset);
    c->left = (size_t)(p->size - c->position < limit ? p->size - c->position : limit);
    put(c, 0, 4);
    put(c, 1, 4);
    put_string(c, topic);
    put(c, 1, 4);
    put(c, index, 4);
    put(c, 0, 2);
    put(c, p->next_offset, 8);
    put(c, p->next_offset, 8);
    put(c, -1, 4);
    put(c, (int64_t)c->left, 4);
    return 0;
}

/* Answer one frame; -1 to close the connection. */
static int serve(connection_t *c, const uint8_t *frame, size_t size) {
    reader_t r = {frame, frame + size};
    int api = (int)number(&r, 2), version = (int)number(&r, 2);
    int64_t correlation = number(&r, 4);
    size_t start = c->filled;
    int code = 0;
    if (r.at > r.end) return -1;
    skip_string(&r);
    put(c, 0, 4);
    put(c, correlation, 4);
    if (api == PRODUCE && version == 7) code = produce(c, &r);
    else if (api == FETCH && version == 4) code = fetch(c, &r);
    else if (api == METADATA && version == 4) metadata(c);
    else if (api == LIST_OFFSETS && version == 2) code = list_offsets(c, &r);
    else if (api == CREATE_TOPICS && version == 2) create_topics(c);
    else if (api == API_VERSIONS && version == 0) api_versions(c);
    else return -1;
    if (code == -2) return -1;
    if (api == PRODUCE && code == 0) c->filled = start;
    else close_frame(c, start, c->left);
    return 0;
}

/* Send what is there: 1 when all of it left, 0 when the socket is full, -1 when the peer is gone. */
static int flush(connection_t *c) {
    while (c->sent < c->filled) {
        ssize_t n = send(c->fd, c->out + c->sent, c->filled - c->sent, MSG_NOSIGNAL | (c->left ? MSG_MORE : 0));
        if (n < 0) return errno == EAGAIN ? 0 : -1;
        c->sent += (size_t)n;
    }
    c->sent = c->filled = 0;
    while (c->left > 0) {
        ssize_t n = sendfile(c->fd, c->file, &c->position, c->left);
        if (n <= 0) return n < 0 && errno == EAGAIN ? 0 : -1;
        c->left -= (size_t)n;
    }
    return 1;
}

static void watch(connection_t *c, int writable) {
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = c};
    if (c->writable == writable) return;
    c->writable = writable;
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

/* Serve the whole frames in the buffer as far as the output allows; -1 to close. */
static int work(connection_t *c) {
    size_t at = 0;
    int sent = flush(c);
    while (sent == 1 && c->held - at >= 4) {
        uint32_t size;
        memcpy(&size, c->in + at, 4);
        size = be32toh(size);
        if (size > FRAME_LIMIT) return -1;
        if (c->held - at < 4 + (size_t)size) {
            if (4 + (size_t)size > c->capacity) {
                c->capacity = 4 + (size_t)size + RECEIVE;
                if (!(c->in = realloc(c->in, c->capacity))) die("realloc");
            }
            break;
        }
        if (serve(c, c->in + at + 4, size) < 0) return -1;
        at += 4 + (size_t)size;
        /* A file range has to leave before the next answer; otherwise answers gather until the buffer is half full. */
        if (c->left > 0 || c->filled > SEND / 2) sent = flush(c);
    }
    memmove(c->in, c->in + at, c->held - at);
    c->held -= at;
    if (sent == 1) sent = flush(c);
    if (sent < 0) return -1;
    watch(c, sent == 0);
    return 0;
}

static void serve_event(connection_t *c) {
    int gone = 0;
    if (c->held < c->capacity && !c->writable) {
        ssize_t n = recv(c->fd, c->in + c->held, c->capacity - c->held, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) gone = 1;
        else if (n > 0) c->held += (size_t)n;
    }
    if (gone || work(c) < 0) {
        close(c->fd);
        free(c->in);
        free(c);
    }
}

static void accept_one(int listener) {
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    connection_t *c = calloc(1, sizeof *c);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (fd < 0 || c == NULL || !(c->in = malloc(RECEIVE))) die("accept");
    c->fd = fd;
    c->capacity = RECEIVE;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static int listen_on_loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    // Nothing is paced within one machine (see kafkax/_core/pacing.pyi).
    setsockopt(listener, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 512) < 0) die("listen");
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    return listener;
}

int main(int argc, char **argv) {
    char path[4096];
    int listener;
    struct rlimit files;
    if (argc != 5) {
        fprintf(stderr, "usage: floor PORT DIRECTORY TOPIC PARTITIONS\n");
        return 2;
    }
    port = atoi(argv[1]);
    topic = argv[3];
    partition_count = atoi(argv[4]);
    /* Metadata has to fit into one answer buffer. */
    if (strlen(topic) > 249 || partition_count < 1 || partition_count > MOST_PARTITIONS) {
        fprintf(stderr, "floor: a topic of at most 249 characters and 1 to %d partitions\n", MOST_PARTITIONS);
        return 2;
    }
    /* Every log stays open. */
    if (getrlimit(RLIMIT_NOFILE, &files) < 0) die("getrlimit");
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0) die("setrlimit");
    partitions = calloc((size_t)partition_count, sizeof *partitions);
    for (int i = 0; i < partition_count; i++) {
        snprintf(path, sizeof path, "%s/%s-%d.log", argv[2], topic, i);
        partitions[i].fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
        if (partitions[i].fd < 0) die(path);
    }
    kx_crc32c_setup();
    poller = epoll_create1(EPOLL_CLOEXEC);
    listener = listen_on_loopback();
    printf("listening on 127.0.0.1:%d\n", port);
    fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) accept_one(listener);
            else serve_event(events[i].data.ptr);
        }
    }
}
