/**
 * What goes between the threads of the embedded store.
 *
 *   thread of the host (main)          PGlite's thread              any other thread
 *   PgliteHost ──connect + data port──▶ pglite-worker ◀──requests──── PgliteBackend
 *        ▲────────── connect, over a control port, answered with a data port ──┘
 *
 * Requests of one data port are answered in order per client. Data goes straight to PGlite's thread; the host only
 * introduces the two, again after PGlite's thread was restarted.
 */
import type { MessagePort } from 'node:worker_threads';
import type { SqlResult } from './backend.ts';

export interface PgliteWorkerData {
  readonly dataDir: string;
}

/** Host to worker. */
export type HostMessage = { readonly op: 'connect'; readonly port: MessagePort } | { readonly op: 'close' };

/** Worker to host. `opened` once, when queries are served. */
export type WorkerMessage =
  | { readonly op: 'opened' }
  | { readonly op: 'failed'; readonly message: string }
  | { readonly op: 'closed' };

/** A step of a batch. `mustAffect`: rows, or else everything is rolled back; `null`: any number. */
export type BatchStep =
  | {
      readonly op: 'query';
      readonly sql: string;
      readonly params: readonly unknown[];
      readonly mustAffect: number | null;
    }
  | { readonly op: 'copy'; readonly sql: string; readonly data: Uint8Array };

/** Backend to worker, over a data port. `client` numbers the logical connections of the port. */
export type Request =
  | {
      readonly op: 'query';
      readonly id: number;
      readonly client: number;
      readonly sql: string;
      readonly params: readonly unknown[];
    }
  | {
      readonly op: 'copy';
      readonly id: number;
      readonly client: number;
      readonly sql: string;
      readonly data: Uint8Array;
    }
  | {
      /** One transaction; answered with the command COMMIT or ROLLBACK. */
      readonly op: 'batch';
      readonly id: number;
      readonly client: number;
      readonly steps: readonly BatchStep[];
    }
  | { readonly op: 'release'; readonly client: number };

/** An error of PostgreSQL's, in the fields that `errors.ts` reads. */
export interface SqlFailure {
  readonly code: string | null;
  readonly message: string;
  readonly constraint: string | null;
}

export type Response =
  | { readonly id: number; readonly result: SqlResult }
  | { readonly id: number; readonly failure: SqlFailure };

/** Over a control port, both ways. */
export interface ConnectRequest {
  readonly id: number;
}
export type ConnectResponse =
  | { readonly id: number; readonly port: MessagePort }
  | { readonly id: number; readonly port: null };
