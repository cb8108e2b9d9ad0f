/**
 * A limit on everything, with its unit in its name. Where a limit can be configured, this is the default. Reasons
 * stand beside the numbers that are not obvious.
 */
const KiB = 1024;
const MiB = 1024 * KiB;

export const limits = {
  /** Bytes of a StartupMessage; PostgreSQL's own MAX_STARTUP_PACKET_LENGTH. */
  maxStartupBytes: 10_000,
  /** Time from accept to the end of authentication, as PostgreSQL's authentication_timeout. */
  authenticationTimeoutMs: 60_000,
  /** Authentication messages (SASL, password) are small; anything longer is hostile. */
  maxAuthMessageBytes: 64 * KiB,
  /** A SCRAM iteration count that an upstream may ask of us before we call it absurd. */
  maxScramIterations: 1_000_000,
  /** Connections that have not authenticated yet, over all listeners. */
  maxUnauthenticatedConnections: 1_000,
  /** Sessions on one node. */
  maxSessions: 10_000,
  /** Passwords whose fast path (caching_sha2_password) is kept in memory; the one used longest ago goes. */
  maxRememberedPasswords: 10_000,
  /** Statement text (Query, Parse) that is accepted; PostgreSQL itself stops at 1 GiB. Configurable. */
  maxStatementBytes: 64 * MiB,
  /** Statement text that is parsed on the relay's loop; longer texts are parsed in a worker. */
  maxInlineParseBytes: 8 * KiB,
  /** MySQL statement text that is split and redacted on the relay's loop; longer texts are in a worker. */
  maxInlineReadBytes: 128 * KiB,
  /** Statements of one Query message; more are refused (each needs a record before it is forwarded). */
  maxStatementsPerQuery: 10_000,
  /** Requests of one session in flight, before its client is not read any more. */
  maxPipelinedRequests: 16_384,
  /** Named prepared statements and portals that one session may hold. */
  maxPreparedStatements: 100_000,
  /** Bytes queued towards a slow peer before the other side is not read any more. */
  maxBacklogBytes: 1 * MiB,
  /** How long a session that is over waits for the other end to close; six times that while there is still something for it. */
  lingerMs: 10_000,
  /** Parameter bytes recorded per execution; the rest is counted and flagged. */
  maxRecordedParameterBytes: 1 * MiB,
  /** Rows and bytes of a result recorded per statement, per database configurable. */
  captureRows: 1_000,
  captureBytes: 1 * MiB,
  /** COPY payload recorded per statement, per database configurable. */
  captureCopyBytes: 1 * MiB,
  /** One block of the journal; one entry's header spans it. */
  maxBlockBytes: 4 * MiB,
  /** One event; larger captures are cut into several. */
  maxEventBytes: 1 * MiB,
  /** A segment is closed when it has grown past this. */
  segmentBytes: 256 * MiB,
  /** Records kept in memory while the journal cannot be written; after that they are counted into a gap. */
  maxUnwrittenBytes: 16 * MiB,
  /** Time between fsyncs in `batch` durability. */
  batchSyncMs: 5,
  /** Time between signed checkpoints while the journal grows. It bounds the not yet signed tail. */
  checkpointMs: 1_000,
  /** How long a result waits for a failing journal before its session ends. */
  journalPatienceMs: 30_000,
  /** How long running statements may take to finish at shutdown. */
  shutdownGraceMs: 10_000,
} as const;
