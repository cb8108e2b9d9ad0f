/**
 * Reading a link message by message before the relay takes over: log-ins, on either side. What was not asked for stays
 * in the link, so nothing is lost at the hand-over, and nothing that came early is mistaken for something encrypted.
 */
import { AppError } from '../../base/errors.ts';
import type { Link } from '../../transport/link.ts';

/** Looks at `bytes[start, end)`; returns a value and the offset behind it, or `null` while more bytes are needed. */
export type Parser<T> = (bytes: Buffer, start: number, end: number) => { value: T; next: number } | null;

interface Waiting {
  offer(bytes: Buffer, start: number, end: number): number;
  reject(error: unknown): void;
}

export class HandshakeReader {
  readonly #link: Link;
  #waiting: Waiting | null = null;
  #lost: Error | null = null;
  /** Bytes that had arrived behind the last value that was read. */
  leftover = 0;

  constructor(link: Link) {
    this.#link = link;
    link.pause();
    link.handler = {
      onBytes: (bytes, start, end) => this.#waiting?.offer(bytes, start, end) ?? start,
      onDrain: () => undefined,
      onEnd: () => this.#fail('the connection was closed during the log-in'),
      onClose: (error) => this.#fail(error ? error.message : 'the connection was closed during the log-in'),
    };
  }

  /** Resolves with the next value. Rejects when the link ends first, or with what the parser throws. */
  read<T>(parse: Parser<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#lost) {
        reject(this.#lost);
        return;
      }
      const done = (): void => {
        this.#waiting = null;
        this.#link.pause();
      };
      this.#waiting = {
        offer: (bytes, start, end) => {
          let parsed: ReturnType<Parser<T>>;
          try {
            parsed = parse(bytes, start, end);
          } catch (error) {
            done();
            reject(error instanceof Error ? error : new Error(String(error)));
            return end;
          }
          if (!parsed) return start;
          done();
          this.leftover = end - parsed.next;
          resolve(parsed.value);
          return parsed.next;
        },
        reject,
      };
      this.#link.resume();
    });
  }

  #fail(message: string): void {
    if (this.#lost) return;
    this.#lost = new AppError('unavailable', 'PROXY_LOGIN_LOST', message);
    this.#waiting?.reject(this.#lost);
    this.#waiting = null;
  }
}

/** Rejects with a clear error when a promise takes too long; the caller closes what it was about. */
export function withTimeout<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(
      () =>
        reject(
          new AppError('unavailable', 'PROXY_TIMEOUT', `${what} took longer than ${timeoutMs / 1000} s`),
        ),
      timeoutMs,
    );
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
