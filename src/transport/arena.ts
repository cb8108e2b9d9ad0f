/**
 * Memory with a known address, for system calls. The turn's arena takes everything that is read in one turn, one piece
 * behind the other; it starts again from its beginning with the next turn, so that a quiet relay stays in a few warm
 * pages.
 */
import type { Syscalls } from './syscalls.ts';

export class Arena {
  readonly bytes: Buffer;
  readonly address: number;
  /** Bytes in use. */
  used = 0;

  constructor(sys: Syscalls, size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.address = sys.addressOf(this.bytes);
  }

  get room(): number {
    return this.bytes.length - this.used;
  }
}
