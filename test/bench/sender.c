/*
 * The least that programming can cost: sends batches of rtnetlink messages as they are, each with one send(2), and reads
 * the acknowledgement of the last message of a batch before it sends the next.
 *
 *     sender FILE      { u32 length, length bytes } ...
 *
 * Prints the time from the first send to the last acknowledgement, and how much of it was spent on a processor.
 */
#include <linux/netlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* On a processor, in this program and in the kernel for it. */
static double cpu_ms(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
}

static char *read_all(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (!file) fail(path);
  fseek(file, 0, SEEK_END);
  *length = ftell(file);
  rewind(file);
  char *bytes = malloc(*length);
  if (!bytes || fread(bytes, 1, *length, file) != *length) fail(path);
  fclose(file);
  return bytes;
}

static int open_socket(void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) fail("socket");
  int buffer = 4 << 20, on = 1;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
  return fd;
}

static long messages, refusals;

static uint32_t last_seq(char *batch, int length) {
  uint32_t seq = 0;
  for (struct nlmsghdr *m = (struct nlmsghdr *)batch; NLMSG_OK(m, length); m = NLMSG_NEXT(m, length)) {
    seq = m->nlmsg_seq;
    messages++;
  }
  return seq;
}

static void await(int fd, uint32_t seq) {
  static char answer[1 << 16];
  for (;;) {
    int length = recv(fd, answer, sizeof answer, 0);
    if (length < 0) fail("recv");
    for (struct nlmsghdr *m = (struct nlmsghdr *)answer; NLMSG_OK(m, length); m = NLMSG_NEXT(m, length)) {
      if (m->nlmsg_type != NLMSG_ERROR) continue;
      if (((struct nlmsgerr *)NLMSG_DATA(m))->error) refusals++;
      if (m->nlmsg_seq == seq) return;
    }
  }
}

int main(int argc, char **argv) {
  size_t length;
  char *bytes = read_all(argc > 1 ? argv[1] : "", &length);
  int fd = open_socket();
  double started = now_ms(), cpu_before = cpu_ms();
  for (size_t at = 0; at < length;) {
    uint32_t size;
    memcpy(&size, bytes + at, sizeof size);
    char *batch = bytes + at + sizeof size;
    uint32_t seq = last_seq(batch, size);
    if (send(fd, batch, size, 0) != (ssize_t)size) fail("send");
    await(fd, seq);
    at += sizeof size + size;
  }
  double ms = now_ms() - started, cpu = cpu_ms() - cpu_before;
  const char *line = "{\"event\":\"sent\",\"ms\":%.3f,\"cpuMs\":%.3f,\"messages\":%ld,\"refusals\":%ld}\n";
  printf(line, ms, cpu, messages, refusals);
  return 0;
}
