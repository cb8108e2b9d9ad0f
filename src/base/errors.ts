/**
 * Operational failures. Expected outcomes are return values, bugs are assertions (`assert.ts`), and everything
 * else that can go wrong is an {@link AppError}: a stable code, a kind that an edge maps to its own protocol
 * (SQLSTATE, HTTP status, exit code), and a message that says what happened and what to do.
 */
export const ERROR_KINDS = [
  'invalid',
  'denied',
  'not-found',
  'conflict',
  'unavailable',
  'exhausted',
  'corrupt',
  'protocol',
] as const;
export type ErrorKind = (typeof ERROR_KINDS)[number];

export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>;

/**
 * @property code stable literal in SCREAMING_SNAKE_CASE, prefixed by its area: `WIRE_LENGTH_OUT_OF_RANGE`.
 * @property details facts for logs and API problems; never a secret, never a bind value, never SQL text.
 */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: string;
  readonly kind: ErrorKind;
  readonly details: ErrorDetails;

  constructor(
    kind: ErrorKind,
    code: string,
    message: string,
    options: { details?: ErrorDetails; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.code = code;
    this.details = options.details ?? {};
  }
}

export function isAppError(value: unknown): value is AppError {
  return value instanceof AppError;
}

/** The `code` of a Node system error (`ENOSPC`, `ECONNREFUSED`), or `undefined`. */
export function systemErrorCode(value: unknown): string | undefined {
  return value instanceof Error && 'code' in value && typeof value.code === 'string' ? value.code : undefined;
}

/** The message of anything that was thrown. */
export function messageOf(value: unknown): string {
  return value instanceof Error ? value.message : String(value);
}
