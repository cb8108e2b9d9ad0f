/** The methods between the relay's process and the node's. */
import type {
  AuthorityNotice,
  EngineName,
  GrantUsage,
  LoginChallenge,
  PermitResult,
  ScramVerifierMatch,
  ServerAddress,
} from '../../model/access.ts';
import type { JournalState } from '../../model/journal.ts';
import type { RelaySettings } from './settings.ts';

/** What the relay says of itself once a second. */
export interface RelayReport {
  readonly counters: Record<string, number>;
  readonly sessions: number;
  readonly journal: {
    readonly state: JournalState;
    readonly failure: string;
    readonly nextSeq: number;
    readonly durable: number;
  };
  /** Largest delay of the relay's event loop since the last report, milliseconds. */
  readonly loopDelayMs: number;
  readonly rssBytes: number;
}

export interface ListenerAddress {
  readonly engine: EngineName;
  readonly host: string;
  readonly port: number;
}

/** Answered by the node's process. */
export interface NodeMethods {
  readonly challenge: {
    body: { user: string; database: string; engine: EngineName; clientAddress: string };
    answer: LoginChallenge;
  };
  readonly checkSecret: {
    body: { user: string; secret: string; clientAddress: string };
    answer: ScramVerifierMatch | null;
  };
  readonly permit: {
    body: { userUid: string; database: string; engine: EngineName; credentialUid: string };
    answer: PermitResult;
  };
  readonly servers: { body: null; answer: readonly ServerAddress[] };
  readonly proved: {
    body: { user: string; clientAddress: string; credentialUid: string | null };
    answer: void;
  };
  readonly usage: { body: readonly GrantUsage[]; answer: void };
  readonly report: { body: RelayReport; answer: void };
  readonly listening: { body: readonly ListenerAddress[]; answer: void };
  readonly log: { body: { level: 'info' | 'warn' | 'error'; message: string }; answer: void };
  /** The relay could not start; it ends. */
  readonly failed: { body: { code: string; message: string }; answer: void };
  [method: string]: { readonly body: unknown; readonly answer: unknown };
}

/** Answered by the relay's process. */
export interface RelayMethods {
  /** The first thing that it is told. Not in its environment, which other programs of the same account can read. */
  readonly settings: { body: RelaySettings; answer: void };
  /** Appends an encoded Event; answered when it is on stable storage. */
  readonly append: { body: Uint8Array; answer: { seq: number } };
  /** Appends a batch of a probe's events, checked before; answered when they are on stable storage. */
  readonly appendBatch: { body: Uint8Array; answer: void };
  readonly notice: { body: AuthorityNotice; answer: void };
  /** Whether the session runs here. */
  readonly hasSession: { body: string; answer: boolean };
  /** Drops journal segments whose newest event is older. `null`: not now, because the clock may be wrong. */
  readonly dropSegments: {
    body: { olderThanUs: number };
    answer: { segments: number; bytes: number } | null;
  };
  /** Ends the process: no new sessions, running statements may finish, the journal is closed. */
  readonly shutdown: { body: null; answer: void };
  [method: string]: { readonly body: unknown; readonly answer: unknown };
}
