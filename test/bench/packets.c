/*
 * Small UDP packets, as many as go or so many a second: iperf3 asks a processor for much more than each packet is worth,
 * and its receiver loses what comes while it does not run.
 *
 *     packets receive ADDRESS PORT                      prints "ready"; when half a second has passed without any, what came
 *     packets send ADDRESS PORT BYTES RATE MS           RATE 0: as many as go; prints how many were sent
 *
 * A send(2) for each, as programs do.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define LARGEST 2048
#define RECEIVE_BUFFER (64 << 20)
#define SILENCE_MS 500
/* Between two looks at what is due: a burst is short enough for any queue. */
#define PACE_NS 100000

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static struct sockaddr_in address_of(const char *ip, const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  if (inet_pton(AF_INET, ip, &address.sin_addr) != 1) fail(ip);
  return address;
}

static void receive(const char *ip, const char *port) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0), size = RECEIVE_BUFFER;
  if (fd < 0) fail("socket");
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0) fail("SO_RCVBUFFORCE");
  struct sockaddr_in address = address_of(ip, port);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
  static char bytes[BATCH][LARGEST];
  struct iovec vectors[BATCH];
  struct mmsghdr messages[BATCH] = {0};
  for (int i = 0; i < BATCH; i++) {
    vectors[i] = (struct iovec){bytes[i], LARGEST};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  puts("ready");
  fflush(stdout);
  unsigned long received = 0;
  double first = 0, last = 0;
  struct pollfd poller = {.fd = fd, .events = POLLIN};
  while (poll(&poller, 1, received == 0 ? -1 : SILENCE_MS) > 0) {
    int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
    if (count <= 0) continue;
    last = now_ms();
    if (received == 0) first = last;
    received += count;
  }
  printf("{\"received\":%lu,\"ms\":%.3f}\n", received, last - first);
}

static void emit(const char *ip, const char *port, int bytes, double rate, double duration_ms) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = address_of(ip, port);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("socket");
  prctl(PR_SET_TIMERSLACK, 1);
  char payload[LARGEST] = {0};
  unsigned long sent = 0;
  double start = now_ms(), elapsed = 0;
  while ((elapsed = now_ms() - start) < duration_ms) {
    unsigned long due = rate == 0 ? sent + BATCH : (unsigned long)(elapsed * rate / 1e3);
    while (sent < due) {
      if (send(fd, payload, bytes, 0) < 0 && errno != ENOBUFS && errno != ECONNREFUSED) fail("send");
      sent++;
    }
    if (rate > 0) nanosleep(&(struct timespec){0, PACE_NS}, NULL);
  }
  printf("{\"sent\":%lu,\"ms\":%.3f}\n", sent, elapsed);
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "receive") == 0) receive(argv[2], argv[3]);
  else if (argc == 7 && strcmp(argv[1], "send") == 0)
    emit(argv[2], argv[3], atoi(argv[4]), atof(argv[5]), atof(argv[6]));
  else {
    fputs("usage: packets receive ADDRESS PORT | packets send ADDRESS PORT BYTES RATE MS\n", stderr);
    return 2;
  }
  return 0;
}
