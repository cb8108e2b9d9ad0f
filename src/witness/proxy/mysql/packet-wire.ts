/** Packets one at a time, before a session begins: log-ins, on either side. */
import { ByteWriter } from '../../../base/bytes.ts';
import type { Link } from '../../../transport/link.ts';
import { checkSequence, nextPacket, PacketCursor } from '../../../wire/mysql/framing.ts';
import { MAX_PACKET_BYTES, type PayloadLimits } from '../../../wire/mysql/protocol.ts';
import { malformed } from '../../../wire/mysql/reader.ts';
import { HandshakeReader } from '../handshake.ts';

export class PacketWire {
  readonly link: Link;
  readonly #limits: PayloadLimits;
  readonly #reader: HandshakeReader;
  /** Sequence id of the next packet, in either direction. */
  sequence: number;

  constructor(link: Link, limits: PayloadLimits, sequence = 0) {
    this.link = link;
    this.#limits = limits;
    this.#reader = new HandshakeReader(link);
    this.sequence = sequence;
  }

  /** The next payload, a copy. Rejects with a `protocol` AppError, or when the link ends. */
  read(): Promise<Buffer> {
    return this.#reader.read((bytes, start, end) => {
      const cursor = new PacketCursor();
      const here = nextPacket(bytes, start, end, this.#limits, cursor);
      if (cursor.end >= 0)
        checkSequence(cursor, this.sequence, this.#limits.direction === 'client' ? 'client' : 'upstream');
      if (cursor.end >= 0 && cursor.length === MAX_PACKET_BYTES)
        throw malformed('log-in', 'it is longer than one packet');
      if (!here) return null;
      this.sequence = (this.sequence + 1) & 0xff;
      return { value: Buffer.from(bytes.subarray(cursor.payload, cursor.end)), next: cursor.end };
    });
  }

  /** Bytes that came behind the last packet that was read. */
  get leftover(): number {
    return this.#reader.leftover;
  }

  /** Takes those bytes: a client begins its TLS handshake without waiting for anything. */
  async takeLeftover(): Promise<Buffer> {
    if (this.leftover === 0) return Buffer.alloc(0);
    return this.#reader.read((bytes, start, end) => ({
      value: Buffer.from(bytes.subarray(start, end)),
      next: end,
    }));
  }

  /** Sends what `encode` writes as the packet of the given sequence id; it returns the next one. */
  send(encode: (out: ByteWriter, sequence: number) => number): void {
    const writer = new ByteWriter(512);
    this.sequence = encode(writer, this.sequence);
    this.link.send(writer.copy());
  }
}
