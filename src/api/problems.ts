/**
 * Errors as problems, RFC 9457. One table says which kind of failure is which status; a few codes differ from their
 * kind. Nobody's operational failure is a 500 that says nothing but the request's id, under which the log has the rest.
 */
import type { Socket } from 'node:net';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AppError, isAppError, type ErrorKind } from '../base/errors.ts';
import type { Problem } from './contract/common.ts';

export const STATUS_BY_KIND: Readonly<Record<ErrorKind, number>> = {
  invalid: 400,
  denied: 403,
  'not-found': 404,
  conflict: 409,
  unavailable: 503,
  exhausted: 429,
  corrupt: 500,
  protocol: 400,
};

/** Where the kind alone would mislead: who one is, is 401, not 403; a full disk is not the client's haste. */
const STATUS_BY_CODE: Readonly<Record<string, number>> = {
  API_LOGIN_REQUIRED: 401,
  ACCESS_LOGIN_WRONG: 401,
  API_METHOD_NOT_ALLOWED: 405,
  API_MEDIA_TYPE: 415,
  API_BODY_TOO_LARGE: 413,
  STORE_EXHAUSTED: 503,
};

const TITLES: Readonly<Record<number, string>> = {
  400: 'The request is not valid',
  401: 'Log in first',
  403: 'Not allowed',
  404: 'Not found',
  405: 'Method not allowed',
  408: 'The request took too long',
  409: 'In conflict with what is there',
  413: 'The request is too large',
  415: 'Send JSON',
  429: 'Too many requests',
  500: 'Internal error',
  503: 'Not available now',
};

export interface FieldError {
  readonly field: string;
  readonly message: string;
}

/** The request does not match its schema. */
export class ValidationError extends AppError {
  readonly fields: readonly FieldError[];

  constructor(where: string, fields: readonly FieldError[]) {
    const first = fields[0];
    const summary = first ? `${first.field}: ${first.message}` : 'it does not match the schema';
    super('invalid', 'API_REQUEST_INVALID', `the ${where} is not valid: ${summary}`);
    this.fields = fields;
  }
}

/** What Fastify and Node throw before a handler runs, in our words. */
function fromFastify(error: FastifyError): AppError | null {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new AppError('invalid', 'API_BODY_TOO_LARGE', 'the body is larger than 1 MiB');
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_INVALID_TYPE':
      return new AppError('invalid', 'API_MEDIA_TYPE', 'send the body as application/json');
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new AppError('invalid', 'API_BODY_NOT_JSON', 'the body is not JSON');
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new AppError('invalid', 'API_URL_INVALID', 'the URL is not valid');
    default:
      // Anything else of Node's or Fastify's that blames the client, without repeating its words.
      return error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500
        ? new AppError('invalid', 'API_REQUEST_INVALID', 'the request is not valid HTTP or not valid JSON')
        : null;
  }
}

export function toProblem(error: AppError, requestId: string): Problem {
  const status = statusOf(error);
  return {
    type: `urn:dbwitness:problem:${error.code.toLowerCase()}`,
    title: TITLES[status] ?? 'Problem',
    status,
    detail: error.message,
    code: error.code,
    instance: requestId,
    ...(error instanceof ValidationError && error.fields.length > 0 ? { errors: [...error.fields] } : {}),
    ...(Object.keys(error.details).length > 0 ? { details: { ...error.details } } : {}),
  };
}

export function statusOf(error: AppError): number {
  return STATUS_BY_CODE[error.code] ?? STATUS_BY_KIND[error.kind];
}

function send(request: FastifyRequest, reply: FastifyReply, error: AppError): FastifyReply {
  const problem = toProblem(error, request.id);
  if (problem.status === 401) void reply.header('www-authenticate', 'Bearer realm="dbwitness"');
  const retryAfterMs = error.details['retry_after_ms'];
  if (typeof retryAfterMs === 'number')
    void reply.header('retry-after', String(Math.ceil(retryAfterMs / 1000)));
  return reply
    .code(problem.status)
    .type('application/problem+json; charset=utf-8')
    .serializer((payload: unknown) => JSON.stringify(payload))
    .send(problem);
}

/** Makes every failure of an instance a problem. */
export function installProblems(app: FastifyInstance): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const known = isAppError(error) ? error : fromFastify(error);
    if (known === null || statusOf(known) >= 500)
      request.log.error({ err: known ?? error }, 'request failed');
    return send(
      request,
      reply,
      known ??
        new AppError(
          'corrupt',
          'API_INTERNAL',
          `something went wrong here; the log has it under request ${request.id}`,
        ),
    );
  });
  app.setNotFoundHandler((request, reply) =>
    send(request, reply, new AppError('not-found', 'API_ROUTE_UNKNOWN', 'there is nothing at this address')),
  );
}

/** What Node refuses before there is a request: malformed or late bytes. Ends the connection. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  const [line, problem] = late
    ? ['408 Request Timeout', { ...RAW_PROBLEM, status: 408, title: TITLES[408], code: 'API_REQUEST_LATE' }]
    : ['400 Bad Request', RAW_PROBLEM];
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 ${line}\r\nconnection: close\r\ncontent-type: application/problem+json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

const RAW_PROBLEM = {
  type: 'about:blank',
  title: TITLES[400],
  status: 400,
  detail: 'the request did not arrive whole and in time as valid HTTP',
  code: 'API_HTTP_INVALID',
} satisfies Problem;

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

/**
 * Answers 405 with `Allow` where a path exists but not with that method. Call `install` after the last route: it adds
 * the missing methods of every path that the hook has seen.
 */
export function methodGuard(app: FastifyInstance): { install(): void } {
  const methodsOf = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const methods = methodsOf.get(url) ?? new Set();
    for (const each of Array.isArray(method) ? method : [method]) methods.add(each);
    methodsOf.set(url, methods);
  });
  const install = (): void => {
    for (const [url, methods] of Array.from(methodsOf)) {
      if (url.includes('*') || url.startsWith('/api/docs')) continue;
      const allow = [...methods].join(', ');
      const missing = METHODS.filter((method) => !methods.has(method));
      app.route({
        method: [...missing],
        url,
        schema: { hide: true },
        config: { open: true },
        handler: (request, reply) => {
          void reply.header('allow', allow);
          const message = `${request.method} is not possible here; use ${allow}`;
          return send(request, reply, new AppError('invalid', 'API_METHOD_NOT_ALLOWED', message));
        },
      });
    }
  };
  return { install };
}
