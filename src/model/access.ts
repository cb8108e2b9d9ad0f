/**
 * Access, as the proxy sees it: who may open a session, and what the session may do. Implemented by the control plane;
 * the relay holds a remote of it. Authority is a value one must hold: only `access/` makes a {@link Permit}, and no
 * session can be opened without one.
 */
import type { Uid } from '../base/ids.ts';

export type EngineName = 'postgres' | 'mysql' | 'mariadb' | 'oracle';
export type Role = 'admin' | 'viewer' | 'connector';
export const CONTROLS = ['read_only', 'block_copy', 'block_ddl'] as const;
export type Control = (typeof CONTROLS)[number];
export type SslMode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
export type Durability = 'batch' | 'sync';

/** One secret that proves a user: their password, or one of their API keys. SCRAM-SHA-256 (RFC 5802 §3). */
export interface ScramVerifier {
  readonly credentialUid: Uid;
  readonly kind: 'password' | 'api_key';
  readonly storedKey: Uint8Array;
  readonly serverKey: Uint8Array;
}

/**
 * One secret of a user in the forms that MySQL's and MariaDB's authentication methods verify against. A form is `null`
 * when it is not known (yet) or its method is switched off; full authentication through
 * {@link Authority.checkSecret} works without any of them.
 */
export interface MysqlVerifier {
  readonly credentialUid: Uid;
  readonly kind: 'password' | 'api_key';
  /**
   * SHA256(SHA256(secret)), 32 bytes: the fast path of caching_sha2_password. Of a password it is held in memory only,
   * from its first full authentication until the password changes; of an API key it is stored.
   */
  readonly sha2: Uint8Array | null;
  /** SHA1(SHA1(secret)), 20 bytes: mysql_native_password. */
  readonly native: Uint8Array | null;
  /** The public key that MariaDB's client_ed25519 derives from the secret, 32 bytes. */
  readonly ed25519: Uint8Array | null;
}

/**
 * What is needed to authenticate somebody. Always returned, for unknown users with made-up but stable salt and no
 * verifiers, so that their existence is not revealed.
 */
export interface LoginChallenge {
  /** `null` for an unknown user or one without any secret. */
  readonly userUid: Uid | null;
  readonly scram: {
    readonly salt: Uint8Array;
    readonly iterations: number;
    readonly verifiers: readonly ScramVerifier[];
  };
  /** Filled for `mysql` and `mariadb` only; one per secret of the user, none for an unknown user. */
  readonly mysql: { readonly verifiers: readonly MysqlVerifier[] };
  /** Wait this long before answering (password guessing backs off, over all listeners together). */
  readonly delayMs: number;
}

/** The upstream of a database, with the stored credentials that people never see. Never logged. */
export interface UpstreamTarget {
  readonly serverUid: Uid;
  readonly engine: EngineName;
  /** A host name, an address, or the absolute path of a Unix socket: its folder (PostgreSQL) or itself (MySQL, MariaDB). */
  readonly host: string;
  readonly port: number;
  readonly databaseName: string;
  readonly username: string;
  readonly password: string;
  readonly sslMode: SslMode;
  /** PEM; empty: the system's authorities. */
  readonly sslCa: string;
  /** PEM client certificate and key; empty: none. */
  readonly sslCert: string;
  readonly sslKey: string;
}

/** How a database is recorded. Defaults in `base/limits.ts`. */
export interface RecordingOptions {
  readonly durability: Durability;
  readonly captureRows: number;
  readonly captureBytes: number;
  readonly captureCopyBytes: number;
  readonly captureParameterBytes: number;
  /** Ask the server for the transaction id behind writes (`txid_current_if_assigned()`). */
  readonly xidProbe: boolean;
  /** Forward even when the journal fails. Journaled when switched on. */
  readonly failOpen: boolean;
  readonly allowReplication: boolean;
  /** Put the person's name into the upstream's application_name. */
  readonly labelApplicationName: boolean;
  /** MySQL and MariaDB: LOAD DATA LOCAL INFILE is answered; its payload is recorded. */
  readonly allowLocalInfile: boolean;
  /** MySQL and MariaDB: put a comment with the statement's id into its text, for the binary log's rows_query events. */
  readonly statementComment: boolean;
}

/** The authority to open one session under one grant. */
export interface Permit {
  readonly userUid: Uid;
  readonly userName: string;
  readonly databaseUid: Uid;
  /** The name people connect to. */
  readonly databaseName: string;
  readonly grantUid: Uid;
  readonly controls: readonly Control[];
  /** Wall-clock microseconds. */
  readonly expiresAtUs: number;
  /** `null`: unlimited. */
  readonly maxStatements: number | null;
  readonly maxBytes: number | null;
  /** Used so far, by all sessions of this grant, as the control plane knows it. */
  readonly usedStatements: number;
  readonly usedBytes: number;
  readonly upstream: UpstreamTarget;
  readonly recording: RecordingOptions;
}

export type LoginRefusal =
  | 'wrong_secret'
  | 'unknown_user'
  | 'unknown_database'
  | 'no_grant'
  | 'grant_not_started'
  | 'grant_ended'
  | 'quota_used_up'
  | 'role_missing'
  /** MySQL's clients may name none, and the user has not exactly one. */
  | 'no_database'
  | 'throttled';

export type PermitResult =
  | { readonly ok: true; readonly permit: Permit }
  | { readonly ok: false; readonly refusal: LoginRefusal; readonly message: string };

/** What the control plane tells running sessions. */
export type AuthorityNotice =
  | { readonly kind: 'grant_ended'; readonly grantUid: Uid; readonly message: string }
  | { readonly kind: 'kill_session'; readonly sessionUid: Uid; readonly by: string }
  | { readonly kind: 'user_disabled'; readonly userUid: Uid }
  /** The secret that sessions logged in with was revoked: those sessions end. */
  | { readonly kind: 'credential_ended'; readonly credentialUid: Uid; readonly message: string }
  /** A database was made, changed or deleted: {@link Authority.servers} may answer something else. */
  | { readonly kind: 'servers_changed' };

/** A server that some database is on, without anything secret. */
export interface ServerAddress {
  readonly serverUid: Uid;
  readonly engine: EngineName;
  /** As {@link UpstreamTarget.host}. */
  readonly host: string;
  readonly port: number;
}

export interface GrantUsage {
  readonly grantUid: Uid;
  readonly statements: number;
  readonly bytes: number;
}

export interface Authority {
  /**
   * First half of a login: before anything is proved. Throws `unavailable` when the control plane cannot be reached,
   * `exhausted` when too many guesses for this user from this address are already waiting.
   */
  challenge(login: {
    user: string;
    database: string;
    engine: EngineName;
    clientAddress: string;
  }): Promise<LoginChallenge>;
  /**
   * Checks a clear-text secret (only ever received inside TLS, or encrypted for our RSA key). A secret that is right
   * also fills the user's {@link MysqlVerifier}s.
   */
  checkSecret(login: {
    user: string;
    secret: string;
    clientAddress: string;
  }): Promise<ScramVerifierMatch | null>;
  /** Tells the outcome of the proof, for back-off and `last used`. */
  proved(login: { user: string; clientAddress: string; credentialUid: Uid | null }): void;
  /**
   * Second half: authenticated; may this user use this database now? MySQL's listener serves both families: asked for
   * either of `mysql` and `mariadb`, it answers for databases of both, and the permit's upstream says which it is.
   * There `database` may be empty: that is the only one that the user has a grant for now, or `no_database`.
   */
  permit(login: {
    userUid: Uid;
    database: string;
    engine: EngineName;
    credentialUid: Uid;
  }): Promise<PermitResult>;
  /** The servers of all MySQL and MariaDB databases: what their listener's greeting must keep to. */
  servers(): Promise<readonly ServerAddress[]>;
  /** Reports what sessions used since the last report; at least once a second while anything was. */
  reportUsage(usage: readonly GrantUsage[]): void;
  onNotice(listener: (notice: AuthorityNotice) => void): void;
}

export interface ScramVerifierMatch {
  readonly userUid: Uid;
  readonly credentialUid: Uid;
  readonly kind: 'password' | 'api_key';
}
