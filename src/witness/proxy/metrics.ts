/** Counters of the proxy, plain numbers that the relay's process reports once a second. */
export class Counter {
  value = 0;

  inc(by = 1): void {
    this.value += by;
  }
}

export class ProxyMetrics {
  readonly sessionsOpened = new Counter();
  readonly loginsFailed = new Counter();
  readonly statements = new Counter();
  readonly refusals = new Counter();
  readonly bytesIn = new Counter();
  readonly bytesOut = new Counter();

  snapshot(): Record<string, number> {
    return {
      sessions_opened: this.sessionsOpened.value,
      logins_failed: this.loginsFailed.value,
      statements: this.statements.value,
      refusals: this.refusals.value,
      bytes_in: this.bytesIn.value,
      bytes_out: this.bytesOut.value,
    };
  }
}
