/** What the API is made of. Everything is passed in; nothing here opens a file, a socket or a store. */
import type { FastifyBaseLogger } from 'fastify';
import type { Kysely } from 'kysely';
import type { Access } from '../access/access.ts';
import type { Actor } from '../access/actor.ts';
import type { SessionEvent, SessionRecord, StatementRecord } from '../store/queries.ts';
import type { StoreSchema } from '../store/schema.ts';

/** The journal, as far as the API reads it. Implemented in `app/` on the journal's and the store's readers. */
export interface JournalReads {
  /** The newest signed checkpoint, a C2SP signed note, and the key to check it with; `null` before the first. */
  checkpoint(): Promise<{ readonly note: string; readonly verifierKey: string } | null>;
  /** The content of a proof file (`dbwitness verify-proof`). Rejects with `conflict` while nothing is signed over it. */
  proof(statement: StatementRecord): Promise<object>;
  /** The rows that were recorded. */
  rows(statement: StatementRecord): Promise<RecordedRows>;
  /** The bodies of events of a session, in the order asked for, in protobuf's JSON form. */
  bodies(session: SessionRecord, events: readonly SessionEvent[]): Promise<readonly unknown[]>;
}

export interface RecordedRows {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** JSON values, in the order of the columns. */
  readonly rows: readonly (readonly unknown[])[];
  /** More rows came than were recorded. */
  readonly truncated: boolean;
  /** The second and further result sets of a statement that has several: a procedure called. */
  readonly more: readonly Pick<RecordedRows, 'columns' | 'rows'>[];
}

/** The index, as far as the API steers it. Implemented in `app/`. */
export interface IndexControl {
  state(): Promise<IndexState>;
  /** Journals who asked, empties the index and starts making it again from the journal; resolves when that has begun. */
  rebuild(actor: Actor): Promise<IndexState>;
}

export interface IndexState {
  readonly state: 'running' | 'waiting' | 'failing' | 'stopped';
  readonly failure: string;
  /** Everything before this position can be searched. */
  readonly nextSeq: number;
  readonly journalSeq: number;
}

export interface Readiness {
  readonly ready: boolean;
  /** One word or sentence per part: `journal`, `store`, … */
  readonly checks: Readonly<Record<string, string>>;
}

export interface ApiDeps {
  readonly access: Access;
  readonly db: Kysely<StoreSchema>;
  readonly journal: JournalReads;
  /** Absent: `/index` is not served. */
  readonly index?: IndexControl;
  readonly ready: () => Promise<Readiness>;
  /** Prometheus text; `null`: there is no `/metrics`. */
  readonly metrics: { readonly contentType: string; read(): Promise<string> } | null;
  readonly version: string;
  /** pino, or `null` for none. */
  readonly logger: FastifyBaseLogger | null;
  readonly options?: Partial<ApiOptions>;
}

export interface ApiOptions {
  /** For the control socket: requests without credentials come from the machine's administrator. Never on TCP. */
  readonly localAdmin: boolean;
  /** Addresses of reverse proxies whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  readonly maxBodyBytes: number;
  /** A request that has not arrived whole by then is ended. */
  readonly requestTimeoutMs: number;
}

export const apiDefaults: ApiOptions = {
  localAdmin: false,
  trustedProxies: [],
  maxBodyBytes: 1024 * 1024,
  requestTimeoutMs: 15_000,
};
