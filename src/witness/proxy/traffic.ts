/** What a session has transferred, counted against its grant. */
import type { GrantAccount } from './ledger.ts';
import type { ProxyMetrics } from './metrics.ts';

export class Traffic {
  /** Bytes from the client, and to it. */
  in = 0;
  out = 0;
  readonly #account: GrantAccount;
  readonly #metrics: ProxyMetrics;
  readonly #onQuota: (message: string) => void;

  constructor(account: GrantAccount, metrics: ProxyMetrics, onQuota: (message: string) => void) {
    this.#account = account;
    this.#metrics = metrics;
    this.#onQuota = onQuota;
  }

  countIn(bytes: number): void {
    this.in += bytes;
    this.#metrics.bytesIn.inc(bytes);
    this.#charge(bytes);
  }

  countOut(bytes: number): void {
    this.out += bytes;
    this.#metrics.bytesOut.inc(bytes);
    this.#charge(bytes);
  }

  #charge(bytes: number): void {
    const account = this.#account;
    account.bytes += bytes;
    if (account.bytes > account.maxBytes)
      this.#onQuota(
        `your grant allows ${account.maxBytes} bytes to be transferred, and they were; ask for a new one`,
      );
  }
}
