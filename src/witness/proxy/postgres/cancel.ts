/**
 * Cancel requests. A client gets a key of ours, unguessable; a request that carries it becomes a request with the
 * upstream's own key, over a connection of its own. A wrong key is answered by nothing, as the server does it.
 */
import { randomBytes } from 'node:crypto';
import { messageOf } from '../../../base/errors.ts';
import { ByteWriter } from '../../../base/bytes.ts';
import type { Reactor } from '../../../transport/link.ts';
import { encodeCancelRequest, encodeEncryptionRequest } from '../../../wire/postgres/startup.ts';
import type { UpstreamTarget } from '../../../model/access.ts';
import { HandshakeReader, withTimeout } from '../handshake.ts';
import { clientTls, dialAddress } from './upstream-address.ts';

const CANCEL_TIMEOUT_MS = 10_000;
/** Requests on their way upstream, over all sessions: a flood is dropped beyond. */
const MAX_IN_FLIGHT = 100;

export interface CancelTarget {
  readonly upstream: UpstreamTarget;
  readonly processId: number;
  readonly key: Uint8Array;
  /** The session's own connection is encrypted: so must this one be. */
  readonly encrypted: boolean;
}

export class CancelRegistry {
  readonly #reactor: Reactor;
  readonly #targets = new Map<string, CancelTarget>();
  readonly #inFlight = new Map<CancelTarget, Promise<void>>();
  /** One more, behind the one that is in flight: what it was meant for may have begun after that one arrived. */
  readonly #again = new Map<CancelTarget, Promise<void>>();
  readonly #onError: (message: string) => void;

  constructor(reactor: Reactor, onError: (message: string) => void) {
    this.#reactor = reactor;
    this.#onError = onError;
  }

  /** A new key for a session. @param keyBytes 4, or up to 256 in protocol 3.2. */
  issue(target: CancelTarget, keyBytes: number): { key: Buffer; revoke: () => void } {
    let key = randomBytes(keyBytes);
    while (this.#targets.has(name(target.processId, key))) key = randomBytes(keyBytes);
    const id = name(target.processId, key);
    this.#targets.set(id, target);
    return { key, revoke: () => this.#targets.delete(id) };
  }

  /**
   * Handles a client's CancelRequest. Resolves when the server has taken it, so that a client that waits for the end of
   * its connection, as libpq does, knows that nothing it sends afterwards is hit.
   */
  request(processId: number, key: Uint8Array): Promise<void> {
    const target = this.#targets.get(name(processId, key));
    return target ? this.send(target) : Promise.resolve();
  }

  /** Cancels what runs upstream. Never rejects: failures are told to the log only, as a cancel has no answer. */
  send(target: CancelTarget): Promise<void> {
    const running = this.#inFlight.get(target);
    if (running) return this.#sendAgain(target, running);
    if (this.#inFlight.size >= MAX_IN_FLIGHT) return Promise.resolve();
    const sent = withTimeout(this.#send(target), CANCEL_TIMEOUT_MS, 'a cancel request')
      .catch((error: unknown) => this.#onError(messageOf(error)))
      .finally(() => this.#inFlight.delete(target));
    this.#inFlight.set(target, sent);
    return sent;
  }

  #sendAgain(target: CancelTarget, running: Promise<void>): Promise<void> {
    let next = this.#again.get(target);
    if (!next) {
      next = running.then(() => {
        this.#again.delete(target);
        return this.send(target);
      });
      this.#again.set(target, next);
    }
    return next;
  }

  async #send(target: CancelTarget): Promise<void> {
    let link = await this.#reactor.dial(dialAddress(target.upstream, CANCEL_TIMEOUT_MS));
    const writer = new ByteWriter(512);
    let reader = new HandshakeReader(link);
    if (target.encrypted) {
      encodeEncryptionRequest(writer, 'ssl');
      link.send(writer.copy());
      writer.reset();
      const answer = await reader.read((bytes, start, end) =>
        start < end ? { value: bytes[start], next: start + 1 } : null,
      );
      if (answer !== 0x53) {
        link.destroy();
        throw new Error('the server refused TLS for a cancel request');
      }
      link = await link.startClientTls(clientTls(target.upstream));
      reader = new HandshakeReader(link);
    }
    encodeCancelRequest(writer, { processId: target.processId, key: target.key });
    link.send(writer.copy());
    // The server closes once it has passed the signal on: whoever waits for that knows that it was done.
    await reader.read(() => null).catch(() => undefined);
    link.end();
  }
}

function name(processId: number, key: Uint8Array): string {
  return `${processId}:${Buffer.from(key).toString('hex')}`;
}
