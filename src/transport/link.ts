/**
 * Links: byte streams to clients and upstreams, shaped for a relay that journals before it forwards.
 *
 * A *reactor* works in turns. In one turn it reads every link that has something to read and hands the bytes to the
 * link's handler; the handler decides, appends to the journal, and queues output on other links with `send`, which
 * only remembers slices. At the end of the turn the reactor calls `onTurnEnd` once (the relay flushes the journal
 * there); if that returns `true`, every queued slice is written, one system call per link.
 *
 *   readable links ─▶ handler.onBytes … ─▶ link.send(slices) … ─▶ onTurnEnd(): journal.flush() ─▶ writes
 *
 * Invariants
 *  1. Bytes handed to `onBytes` stay valid and unchanged until the turn's output was written (or copied), so a slice of
 *     them may be given to `send` without a copy.
 *  2. What `onBytes` does not consume is presented again, followed by more bytes, contiguously. A handler must consume
 *     at least one byte whenever it is given `maxChunkBytes`; longer messages it assembles itself.
 *  3. Output that the peer does not take is copied and kept; `backlogBytes` says how much. Nobody drops anything: a
 *     handler that sees a large backlog pauses the link that feeds it, and resumes it in `onDrain`.
 *  4. When `onTurnEnd` returns `false`, the queued output is kept (copied) and nothing is written for the links that
 *     have `send` output in that turn, until `reactor.retryTurn()`.
 */
import type { Duplex } from 'node:stream';
import type { SecureContextOptions } from 'node:tls';

export interface PeerAddress {
  /** Textual IP address without zone, or the path of a Unix socket. */
  readonly address: string;
  /** 0 on a Unix socket. */
  readonly port: number;
}

export interface TlsFacts {
  /** "TLSv1.3" */
  readonly version: string;
  readonly cipher: string;
  readonly alpn: string;
  /**
   * Hash of *our or the peer's* server certificate for `tls-server-end-point` (RFC 5929 §4.1). Empty where the RFC
   * defines none (Ed25519 certificates): channel binding cannot be offered then.
   */
  readonly serverEndPoint: Uint8Array;
  /** DER of the client's verified certificate, if it presented one. */
  readonly clientCertificate: Uint8Array | null;
  /** Common name of the client's verified certificate, empty without. */
  readonly clientCommonName: string;
}

export interface LinkHandler {
  /** Returns the offset up to which bytes were consumed (`start` ≤ result ≤ `end`). */
  onBytes(bytes: Buffer, start: number, end: number): number;
  /** The backlog fell to zero after it had been above zero. */
  onDrain(): void;
  /** The peer has sent its last byte (FIN). Unconsumed bytes are lost to the handler. */
  onEnd(): void;
  /** The link is gone; called exactly once, after which no other call comes. */
  onClose(error: Error | null): void;
}

export interface Link {
  readonly peer: PeerAddress;
  readonly tls: TlsFacts | null;
  readonly closed: boolean;
  handler: LinkHandler;
  /**
   * Queues `bytes[start, end)` for this turn's end. The slice must not change before then. On a closed link it does
   * nothing (`onClose` tells); after `end` it is a bug.
   */
  send(bytes: Uint8Array, start?: number, end?: number): void;
  /** Bytes queued in this turn, not written yet. */
  readonly queuedBytes: number;
  /** Takes back everything queued since the turn began. */
  discardQueued(): void;
  /** Bytes that the peer has not taken yet, queued of this turn not counted. */
  readonly backlogBytes: number;
  pause(): void;
  /** Bytes left unconsumed before the pause are presented again without waiting for more; never from within this call. */
  resume(): void;
  readonly paused: boolean;
  /** Writes what is queued and in the backlog, then sends FIN. */
  end(): void;
  /** Closes at once; output not written is lost. `onClose` comes before the turn ends, not from within this call. */
  destroy(error?: Error): void;
  /**
   * Server side: the client asked for TLS. Continues this stream inside TLS and resolves with the new link; this one
   * must not be used any more. Bytes that arrived before are *not* taken into the TLS stream: the caller has checked
   * that there were none (CVE-2021-23222), except `head`, the start of a ClientHello already read (direct TLS).
   */
  startServerTls(options: ServerTlsOptions, head?: Uint8Array): Promise<Link>;
  /** Client side: continues inside TLS, verifying as told. Rejects with an `unavailable` or `denied` AppError. */
  startClientTls(options: ClientTlsOptions): Promise<Link>;
}

export interface ServerTlsOptions {
  readonly secureContext: SecureContextOptions;
  readonly alpnProtocols?: readonly string[];
  /** Ask for a client certificate, verified against `secureContext.ca`. */
  readonly requestClientCertificate: boolean;
  readonly handshakeTimeoutMs: number;
}

export interface ClientTlsOptions {
  /** Host name for SNI and for verify-full. */
  readonly host: string;
  readonly verify: 'none' | 'ca' | 'full';
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly alpnProtocols?: readonly string[];
  readonly handshakeTimeoutMs: number;
}

export interface ListenOptions {
  /** "127.0.0.1", "::", or empty for all addresses. */
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  readonly backlog?: number;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Stops accepting; links go on. */
  close(): Promise<void>;
}

export interface DialOptions {
  /** Host name or address, or an absolute path: a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
}

export interface Reactor {
  /** Largest number of contiguous bytes ever handed to `onBytes`. */
  readonly maxChunkBytes: number;
  /**
   * Set once by the relay, before anything else. Called at the end of every turn in which a link had output or `touch`
   * was called. Output queued *inside* this callback is written in the same turn: the relay keeps its output back until
   * the journal has it, and calls `send` only here.
   */
  onTurnEnd: () => boolean;
  listen(options: ListenOptions, accept: (link: Link) => void): Promise<Listener>;
  /** A new link; its handler must be set in the same turn in which the promise's continuation runs. */
  dial(options: DialOptions): Promise<Link>;
  /** A link over any duplex stream (an SSH channel). */
  adopt(stream: Duplex, peer: PeerAddress): Link;
  /** Makes sure that a turn ends soon, for output queued outside `onBytes` (timers, promises). `send` implies it. */
  touch(): void;
  /** After `onTurnEnd` returned `false`: ends the held turn again, soon (not from within this call). */
  retryTurn(): void;
  close(): Promise<void>;
}
