/*
 * A program that calls what the probe hooks as a PostgreSQL backend would, as often per second as it is told:
 * load STATEMENTS_PER_SECOND SECONDS. It stands in for servers that are faster than this machine. Prints how many.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

char *debug_query_string;
void *MyProcPort;
uint64_t XactLastRecEnd;
char *application_name;
int PostmasterPid;
const char version[] = "\0PostgreSQL 15.0 on x86_64-pc-linux-gnu\0";

struct QueryCompletion { uint32_t tag; uint64_t rows; };

static int64_t statement_started;
static uint64_t transaction;
__attribute__((noinline)) int64_t GetCurrentStatementStartTimestamp(void) { return statement_started; }
__attribute__((noinline)) uint32_t GetTopTransactionIdIfAny(void) { return (uint32_t)transaction; }
__attribute__((noinline)) int PortalRun(void *portal, long count, int top) { asm volatile("" ::: "memory"); return portal == 0 && count && top; }
__attribute__((noinline)) void EndCommand(struct QueryCompletion *qc, int dest) { asm volatile("" ::"r"(qc), "r"(dest) : "memory"); }
__attribute__((noinline)) void ProcessInterrupts(void) { asm volatile("" ::: "memory"); }

__attribute__((noinline)) void pq_putemptymessage(char kind) { asm volatile("" ::"r"(kind) : "memory"); }

/* One statement: the place where the probe looks for PortalSuspended is here, and not passed. */
__attribute__((noinline)) void PostgresMain(int suspended) {
  struct QueryCompletion qc = {0, 1};
  statement_started++;
  PortalRun(0, LONG_MAX, 1);
  if (suspended) pq_putemptymessage('s');
  else EndCommand(&qc, 2);
}

int main(int argc, char **argv) {
  long rate = argc > 1 ? atol(argv[1]) : 100000, seconds = argc > 2 ? atol(argv[2]) : 60, done = 0;
  char text[128];
  struct timespec next;
  debug_query_string = text;
  clock_gettime(CLOCK_MONOTONIC, &next);
  for (long tick = 0; tick < seconds * 1000; tick++) {
    for (; done < rate * (tick + 1) / 1000; done++) {
      snprintf(text, sizeof text, "SELECT abalance FROM pgbench_accounts WHERE aid = %ld;", done);
      PostgresMain(argc < 0);
    }
    next.tv_nsec += 1000000;
    if (next.tv_nsec >= 1000000000) { next.tv_nsec -= 1000000000; next.tv_sec++; }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, 0);
  }
  printf("%ld\n", done);
  return version[1] == 0;
}
